using System.Text.Json;

namespace StableDiffusion.Ilgpu.Models;

/// <summary>transformers' CLIPTextModel.</summary>
internal sealed record ClipTextConfig(
    int Vocabulary, int Tokens, int Hidden, int Intermediate, int Layers, int Heads, string Activation, double Epsilon)
{
    public static ClipTextConfig Parse(JsonElement json, string description)
    {
        var c = new ConfigReader(json, description);
        var config = new ClipTextConfig(
            c.Size("vocab_size", ModelLimits.Vocabulary, 49408),
            c.InRange("max_position_embeddings", c.Int("max_position_embeddings", 77), 2, ModelLimits.Tokens),
            c.Size("hidden_size", ModelLimits.Channels, 512), c.Size("intermediate_size", 4 * ModelLimits.Channels, 2048),
            c.Size("num_hidden_layers", ModelLimits.Layers, 12), c.Int("num_attention_heads", 8), c.Text("hidden_act", "quick_gelu"),
            c.Positive("layer_norm_eps", 1e-5));
        ModelLimits.RequireDivisible(c, "num_attention_heads", config.Heads, "hidden_size", config.Hidden);
        return config.Activation is "quick_gelu" or "gelu" ? config
            : throw c.Error("hidden_act", $"is {config.Activation}; valid: quick_gelu, gelu");
    }
}

/// <summary>diffusers' UNet2DConditionModel as Stable Diffusion 1.x and 2.x use it.</summary>
internal sealed record UNetConfig(
    int InChannels, int OutChannels, int[] Channels, string[] DownBlocks, string[] UpBlocks, int LayersPerBlock,
    int[] Heads, int CrossAttention, int Groups, double Epsilon, bool CosineFirst, double FrequencyShift, bool LinearProjection, int SampleSize)
{
    public static UNetConfig Parse(JsonElement json, string description)
    {
        var c = new ConfigReader(json, description);
        var channels = c.Sizes("block_out_channels", ModelLimits.Channels, ModelLimits.Levels);
        c.Require("act_fn", "silu");
        c.Require("mid_block_scale_factor", 1);
        c.Require("downsample_padding", 1);
        c.Require("center_input_sample", "false");
        c.Require("dual_cross_attention", "false");
        c.Require("only_cross_attention", "false");
        c.Require("resnet_time_scale_shift", "default");
        RefuseOtherArchitectures(c, channels.Length);
        var config = new UNetConfig(
            c.Size("in_channels", ModelLimits.Channels, 4), c.Size("out_channels", ModelLimits.Channels, 4), channels, c.Names("down_block_types"),
            c.Names("up_block_types"), c.Size("layers_per_block", ModelLimits.BlockLayers, 2), c.PerLevel("attention_head_dim", channels.Length, 8),
            c.Size("cross_attention_dim", ModelLimits.Channels, 1280), c.Int("norm_num_groups", 32), c.Positive("norm_eps", 1e-5),
            c.Flag("flip_sin_to_cos", true), c.Number("freq_shift", 0), c.Flag("use_linear_projection", false),
            c.Size("sample_size", ModelLimits.Sample, 64));
        CheckBlocks(c, "down_block_types", config.DownBlocks, channels.Length, ["CrossAttnDownBlock2D", "DownBlock2D"]);
        CheckBlocks(c, "up_block_types", config.UpBlocks, channels.Length, ["CrossAttnUpBlock2D", "UpBlock2D"]);
        if (channels[0] % 2 != 0)
        {
            throw c.Error("block_out_channels", $"starts with {channels[0]}; the first must be even");
        }

        for (var level = 0; level < channels.Length; level++)
        {
            ModelLimits.RequireDivisible(c, "norm_num_groups", config.Groups, "a level's size", channels[level]);
            if (level == channels.Length - 1 || config.DownBlocks[level] == "CrossAttnDownBlock2D"
                || config.UpBlocks[^(level + 1)] == "CrossAttnUpBlock2D")
            {
                ModelLimits.RequireDivisible(c, "attention_head_dim", config.Heads[level], "the level's size", channels[level]);
            }
        }

        return config;
    }

    /// <summary>What other models than Stable Diffusion's have diffusers' class do, silently or with tensors of its own.</summary>
    private static void RefuseOtherArchitectures(ConfigReader c, int levels)
    {
        c.RequireNone(
            "time_cond_proj_dim",
            "UNets with embedded guidance are not supported, but LCM LoRAs with an ordinary model are (--lora, --sampling-method lcm)");
        foreach (var key in new[]
        {
            "class_embed_type", "num_class_embeds", "addition_embed_type", "encoder_hid_dim_type", "encoder_hid_dim", "time_embedding_dim",
            "time_embedding_act_fn", "timestep_post_act", "cross_attention_norm", "num_attention_heads",
        })
        {
            c.RequireNone(key);
        }

        c.Require("time_embedding_type", "positional");
        c.Require("attention_type", "default");
        c.Require("mid_block_type", "UNetMidBlock2DCrossAttn");
        c.Require("mid_block_only_cross_attention", "false");
        c.Require("resnet_skip_time_act", "false");
        c.Require("resnet_out_scale_factor", 1);
        c.Require("conv_in_kernel", 3);
        c.Require("conv_out_kernel", 3);
        if (c.PerLevel("transformer_layers_per_block", levels, 1).FirstOrDefault(n => n != 1, 1) is not 1 and var layers)
        {
            throw c.Error("transformer_layers_per_block", $"is {layers}; only 1 is supported");
        }
    }

    private static void CheckBlocks(ConfigReader c, string key, string[] blocks, int levels, string[] valid)
    {
        if (blocks.Length != levels)
        {
            throw c.Error(key, $"has {blocks.Length} entries for {levels} levels");
        }

        if (blocks.FirstOrDefault(b => !valid.Contains(b)) is { } unknown)
        {
            throw c.Error(key, $"names {unknown}; valid: {string.Join(", ", valid)}");
        }
    }
}

/// <summary>diffusers' AutoencoderKL.</summary>
internal sealed record AutoencoderKlConfig(
    int InChannels, int OutChannels, int[] Channels, int LayersPerBlock, int LatentChannels, int Groups, double ScalingFactor)
{
    /// <summary>Pixels of the picture per latent, in each direction.</summary>
    public int PixelsPerLatent => 1 << (Channels.Length - 1);

    public static AutoencoderKlConfig Parse(JsonElement json, string description)
    {
        var c = new ConfigReader(json, description);
        c.Require("act_fn", "silu");
        c.Require("shift_factor", 0);
        c.RequireNone("latents_mean");
        c.RequireNone("latents_std");
        c.Require("use_quant_conv", "true");
        c.Require("use_post_quant_conv", "true");
        c.Require("mid_block_add_attention", "true");
        var channels = c.Sizes("block_out_channels", ModelLimits.Channels, ModelLimits.Levels);
        var config = new AutoencoderKlConfig(
            c.Size("in_channels", ModelLimits.Channels, 3), c.Size("out_channels", ModelLimits.Channels, 3), channels,
            c.Size("layers_per_block", ModelLimits.BlockLayers, 1), c.Size("latent_channels", ModelLimits.Channels, 4), c.Int("norm_num_groups", 32),
            c.Positive("scaling_factor", 0.18215));
        foreach (var size in channels)
        {
            ModelLimits.RequireDivisible(c, "norm_num_groups", config.Groups, "a level's size", size);
        }

        return config;
    }
}
