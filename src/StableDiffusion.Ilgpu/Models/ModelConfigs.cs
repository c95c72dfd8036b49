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
            c.Int("vocab_size", 49408), c.Int("max_position_embeddings", 77), c.Int("hidden_size", 512), c.Int("intermediate_size", 2048),
            c.Int("num_hidden_layers", 12), c.Int("num_attention_heads", 8), c.Text("hidden_act", "quick_gelu"),
            c.Number("layer_norm_eps", 1e-5));
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
        var channels = c.Ints("block_out_channels");
        c.Require("act_fn", "silu");
        c.Require("mid_block_scale_factor", "1");
        c.Require("downsample_padding", "1");
        c.Require("center_input_sample", "false");
        c.Require("dual_cross_attention", "false");
        c.Require("only_cross_attention", "false");
        c.Require("resnet_time_scale_shift", "default");
        var config = new UNetConfig(
            c.Int("in_channels", 4), c.Int("out_channels", 4), channels, c.Names("down_block_types"), c.Names("up_block_types"),
            c.Int("layers_per_block", 2), c.PerLevel("attention_head_dim", channels.Length, 8), c.Int("cross_attention_dim", 1280),
            c.Int("norm_num_groups", 32), c.Number("norm_eps", 1e-5), c.Flag("flip_sin_to_cos", true), c.Number("freq_shift", 0),
            c.Flag("use_linear_projection", false), c.Int("sample_size", 64));
        CheckBlocks(c, "down_block_types", config.DownBlocks, channels.Length, ["CrossAttnDownBlock2D", "DownBlock2D"]);
        CheckBlocks(c, "up_block_types", config.UpBlocks, channels.Length, ["CrossAttnUpBlock2D", "UpBlock2D"]);
        return config;
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
        return new AutoencoderKlConfig(
            c.Int("in_channels", 3), c.Int("out_channels", 3), c.Ints("block_out_channels"), c.Int("layers_per_block", 1),
            c.Int("latent_channels", 4), c.Int("norm_num_groups", 32), c.Number("scaling_factor", 0.18215));
    }
}
