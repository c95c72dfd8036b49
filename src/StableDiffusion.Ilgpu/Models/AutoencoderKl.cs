using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Models;

/// <summary>
/// The KL autoencoder (Rombach et al. 2022, arXiv:2112.10752; weights named as in diffusers' AutoencoderKL).
/// </summary>
internal static class AutoencoderKl
{
    private const double Epsilon = 1e-6;

    /// <summary>Weights of the file that belong to the encoder.</summary>
    public static bool IsEncoderWeight(string name) =>
        name.StartsWith("encoder.", StringComparison.Ordinal) || name.StartsWith("quant_conv.", StringComparison.Ordinal);

    /// <summary>Weights of the file that belong to the decoder.</summary>
    public static bool IsDecoderWeight(string name) =>
        name.StartsWith("decoder.", StringComparison.Ordinal) || name.StartsWith("post_quant_conv.", StringComparison.Ordinal);

    /// <summary>
    /// Input <c>image</c> (N, 8h, 8w, 3), -1 … 1; output <c>moments</c> (N, h, w, 2 latent): the mean of the latent, not yet multiplied by
    /// the scaling factor, and the logarithm of its variance, not yet clamped.
    /// </summary>
    public static Graph RecordEncoder(AutoencoderKlConfig config, int batch, int height, int width, bool circular = false)
    {
        var graph = new Graph("vae_encoder") { Circular = circular };
        var root = new Scope(graph);
        var s = root / "encoder";
        var image = graph.Input("image", new Shape(batch, height, width, config.OutChannels), ElementType.Activation, Rate.Step);
        var x = (s / "conv_in").Conv(image, config.Channels[0]);
        for (var level = 0; level < config.Channels.Length; level++)
        {
            var block = s / "down_blocks" / level;
            for (var i = 0; i < config.LayersPerBlock; i++)
            {
                x = ResBlock(block / "resnets" / i, x, config.Channels[level], config);
            }

            if (level < config.Channels.Length - 1)
            {
                // One more row below and column to the right, none above and left.
                var downsampler = block / "downsamplers" / 0;
                x = downsampler.Mark((downsampler / "conv").Conv(x, x.C, new Window(3, 2, 0, 1, 0, 1)));
            }

            block.Mark(x);
        }

        x = MidBlock(s / "mid_block", x, config);
        x = (s / "conv_norm_out").GroupNorm(x, config.Groups, Epsilon).Silu();
        x = (s / "conv_out").Conv(x, 2 * config.LatentChannels);
        graph.Output("moments", (root / "quant_conv").Conv(x, 2 * config.LatentChannels, kernel: 1));
        return graph;
    }

    /// <summary>Input <c>z</c> (N, h, w, latent), already divided by the scaling factor; output <c>out</c> (N, 8h, 8w, 3), about -1 … 1.</summary>
    public static Graph RecordDecoder(AutoencoderKlConfig config, int batch, int height, int width, bool circular = false)
    {
        var graph = new Graph("vae_decoder") { Circular = circular };
        var root = new Scope(graph);
        var z = graph.Input("z", new Shape(batch, height, width, config.LatentChannels), ElementType.Activation, Rate.Step);
        var s = root / "decoder";
        var x = (s / "conv_in").Conv((root / "post_quant_conv").Conv(z, config.LatentChannels, kernel: 1), config.Channels[^1]);

        x = MidBlock(s / "mid_block", x, config);
        for (var up = 0; up < config.Channels.Length; up++)
        {
            var (block, level) = (s / "up_blocks" / up, config.Channels.Length - 1 - up);
            for (var i = 0; i <= config.LayersPerBlock; i++)
            {
                x = ResBlock(block / "resnets" / i, x, config.Channels[level], config);
            }

            if (level > 0)
            {
                var upsampler = block / "upsamplers" / 0;
                x = upsampler.Mark((upsampler / "conv").Conv(x.Resize(x.Shape.H * 2, x.Shape.W * 2), x.C));
            }

            block.Mark(x);
        }

        x = (s / "conv_norm_out").GroupNorm(x, config.Groups, Epsilon).Silu();
        graph.Output("out", (s / "conv_out").Conv(x, config.OutChannels));
        return graph;
    }

    private static Value MidBlock(Scope s, Value x, AutoencoderKlConfig config)
    {
        x = ResBlock(s / "resnets" / 0, x, x.C, config);
        x = SelfAttention(s / "attentions" / 0, x, config);
        return s.Mark(ResBlock(s / "resnets" / 1, x, x.C, config));
    }

    private static Value ResBlock(Scope s, Value x, int channels, AutoencoderKlConfig config)
    {
        // First, so that the norm may overwrite x.
        var shortcut = x.C == channels ? x : (s / "conv_shortcut").Conv(x, channels, kernel: 1);
        var h = (s / "conv1").Conv((s / "norm1").GroupNorm(x, config.Groups, Epsilon).Silu(), channels);
        h = (s / "conv2").Conv((s / "norm2").GroupNorm(h, config.Groups, Epsilon).Silu(), channels);
        return s.Mark(h + shortcut);
    }

    /// <summary>One head over all pixels.</summary>
    private static Value SelfAttention(Scope s, Value x, AutoencoderKlConfig config)
    {
        var h = (s / "group_norm").GroupNorm(x, config.Groups, Epsilon);
        var (q, k, v) = ((s / "to_q").Linear(h, x.C), (s / "to_k").Linear(h, x.C), (s / "to_v").Linear(h, x.C));
        return s.Mark((s / "to_out" / 0).Linear(s.Attention(q, k, v, heads: 1), x.C) + x);
    }
}
