using System.Text.Json;
using System.Text.Json.Nodes;
using StableDiffusion.Ilgpu.Models;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Keys of diffusers' configurations that change what a UNet or an autoencoder computes, but for what is built.</summary>
public sealed class ModelConfigTests
{
    [Theory]
    [InlineData("time_cond_proj_dim", "256", "time_cond_proj_dim is 256", "embedded guidance", "--lora", "--sampling-method lcm")]
    [InlineData("class_embed_type", "\"timestep\"", "class_embed_type is timestep")]
    [InlineData("num_class_embeds", "1000", "num_class_embeds is 1000")]
    [InlineData("addition_embed_type", "\"text_time\"", "addition_embed_type is text_time")]
    [InlineData("encoder_hid_dim_type", "\"text_proj\"", "encoder_hid_dim_type is text_proj")]
    [InlineData("encoder_hid_dim", "4096", "encoder_hid_dim is 4096")]
    [InlineData("time_embedding_type", "\"fourier\"", "time_embedding_type is fourier; only positional")]
    [InlineData("time_embedding_dim", "512", "time_embedding_dim is 512")]
    [InlineData("time_embedding_act_fn", "\"silu\"", "time_embedding_act_fn is silu")]
    [InlineData("timestep_post_act", "\"silu\"", "timestep_post_act is silu")]
    [InlineData("cross_attention_norm", "\"layer_norm\"", "cross_attention_norm is layer_norm")]
    [InlineData("num_attention_heads", "16", "num_attention_heads is 16")]
    [InlineData("attention_type", "\"gated\"", "attention_type is gated; only default")]
    [InlineData("mid_block_type", "\"UNetMidBlock2DSimpleCrossAttn\"", "mid_block_type is UNetMidBlock2DSimpleCrossAttn")]
    [InlineData("mid_block_only_cross_attention", "true", "mid_block_only_cross_attention is True; only false")]
    [InlineData("resnet_skip_time_act", "true", "resnet_skip_time_act is True; only false")]
    [InlineData("resnet_out_scale_factor", "1.4142", "resnet_out_scale_factor is 1.4142; only 1 ")]
    [InlineData("mid_block_scale_factor", "2", "mid_block_scale_factor is 2; only 1 ")]
    [InlineData("conv_in_kernel", "1", "conv_in_kernel is 1; only 3")]
    [InlineData("conv_out_kernel", "1", "conv_out_kernel is 1; only 3")]
    [InlineData("transformer_layers_per_block", "[1, 2, 10, 1]", "transformer_layers_per_block is 2; only 1")]
    [InlineData("dual_cross_attention", "true", "dual_cross_attention is True; only false")]
    [InlineData("resnet_time_scale_shift", "\"scale_shift\"", "resnet_time_scale_shift is scale_shift; only default")]
    public void A_UNet_of_another_kind_is_refused(string key, string value, params string[] parts) =>
        WeightsTestFiles.Refused(() => UNetConfig.Parse(With("unet", (key, value)), "unet/config.json"), ["unet/config.json: ", .. parts]);

    /// <summary>The block in the middle has attention of the last level's heads, though that level has none of its own.</summary>
    [Fact]
    public void Heads_divide_the_channels_of_every_level_with_attention()
    {
        WeightsTestFiles.Refused(
            () => UNetConfig.Parse(With("unet", ("attention_head_dim", "[8, 8, 8, 12]")), "unet/config.json"), "attention_head_dim", "12", "64");
        WeightsTestFiles.Refused(
            () => UNetConfig.Parse(With("unet", ("attention_head_dim", "[8, 12, 8, 8]")), "unet/config.json"), "attention_head_dim", "12", "32");
        const string Plain = """["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"]""";
        const string PlainUp = """["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"]""";
        (string, string) heads = ("attention_head_dim", "[12, 8, 8, 8]");
        Assert.Equal([12, 8, 8, 8], UNetConfig.Parse(With("unet", heads, ("down_block_types", Plain), ("up_block_types", PlainUp)), "unet").Heads);
        WeightsTestFiles.Refused(() => UNetConfig.Parse(With("unet", heads, ("down_block_types", Plain)), "unet"), "attention_head_dim", "12", "32");
    }

    [Theory]
    [InlineData("shift_factor", "0.1159", "shift_factor is 0.1159; only 0 ")]
    [InlineData("latents_mean", "[0.5, 0, 0, 0]", "latents_mean is [0.5,0,0,0]; only null")]
    [InlineData("latents_std", "[2, 2, 2, 2]", "latents_std is [2,2,2,2]; only null")]
    [InlineData("use_quant_conv", "false", "use_quant_conv is False; only true")]
    [InlineData("use_post_quant_conv", "false", "use_post_quant_conv is False; only true")]
    [InlineData("mid_block_add_attention", "false", "mid_block_add_attention is False; only true")]
    public void An_autoencoder_of_another_kind_is_refused(string key, string value, params string[] parts) =>
        WeightsTestFiles.Refused(() => AutoencoderKlConfig.Parse(With("vae", (key, value)), "vae/config.json"), ["vae/config.json: ", .. parts]);

    /// <summary>What diffusers writes for Stable Diffusion.</summary>
    [Fact]
    public void Written_defaults_are_no_other_kind()
    {
        var unet = UNetConfig.Parse(
            With(
                "unet", ("time_cond_proj_dim", "null"), ("class_embed_type", "null"), ("num_class_embeds", "null"),
                ("addition_embed_type", "null"), ("addition_embed_type_num_heads", "64"), ("addition_time_embed_dim", "null"),
                ("encoder_hid_dim", "null"), ("encoder_hid_dim_type", "null"), ("time_embedding_type", "\"positional\""),
                ("time_embedding_dim", "null"), ("time_embedding_act_fn", "null"), ("timestep_post_act", "null"),
                ("cross_attention_norm", "null"), ("num_attention_heads", "null"), ("attention_type", "\"default\""),
                ("mid_block_type", "\"UNetMidBlock2DCrossAttn\""), ("mid_block_only_cross_attention", "null"),
                ("resnet_skip_time_act", "false"), ("resnet_out_scale_factor", "1.0"), ("mid_block_scale_factor", "1.0"),
                ("conv_in_kernel", "3"), ("conv_out_kernel", "3"), ("transformer_layers_per_block", "[1, 1, 1, 1]"),
                ("reverse_transformer_layers_per_block", "null"), ("dual_cross_attention", "false"), ("upcast_attention", "false"),
                ("class_embeddings_concat", "false"), ("projection_class_embeddings_input_dim", "null"), ("dropout", "0.0"),
                ("resnet_time_scale_shift", "\"default\"")),
            "unet");
        var plain = UNetConfig.Parse(With("unet"), "unet");
        Assert.Equal(plain.Channels, unet.Channels);
        Assert.Equal(plain.Heads, unet.Heads);
        Assert.Equal(plain.Heads, UNetConfig.Parse(With("unet", ("transformer_layers_per_block", "1")), "unet").Heads);
        var vae = AutoencoderKlConfig.Parse(
            With(
                "vae", ("shift_factor", "null"), ("latents_mean", "null"), ("latents_std", "null"), ("use_quant_conv", "true"),
                ("use_post_quant_conv", "true"), ("mid_block_add_attention", "true"), ("force_upcast", "true")),
            "vae");
        Assert.Equal(AutoencoderKlConfig.Parse(With("vae"), "vae").LatentChannels, vae.LatentChannels);
        _ = AutoencoderKlConfig.Parse(With("vae", ("shift_factor", "0.0")), "vae");
    }

    private static JsonElement With(string part, params (string Key, string Value)[] entries)
    {
        var json = JsonNode.Parse(File.ReadAllText(ReferenceData.PathOf("tiny-sd15", part, "config.json")))!.AsObject();
        foreach (var (key, value) in entries)
        {
            json[key] = JsonNode.Parse(value);
        }

        return JsonElement.Parse(json.ToJsonString());
    }
}
