using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Models;

/// <summary>
/// The decoder of the KL autoencoder (Rombach et al. 2022, arXiv:2112.10752; weights named as in diffusers' AutoencoderKL).
/// Input <c>z</c> (N, h, w, latent), already divided by the scaling factor; output <c>out</c> (N, 8h, 8w, 3), about -1 … 1.
/// </summary>
internal static class AutoencoderKl
{
    private const double Epsilon = 1e-6;

    /// <summary>Weights of the file that belong to the encoder.</summary>
    public static bool IsEncoderWeight(string name) =>
        name.StartsWith("encoder.", StringComparison.Ordinal) || name.StartsWith("quant_conv.", StringComparison.Ordinal);

    public static Graph RecordDecoder(AutoencoderKlConfig config, int batch, int height, int width, bool circular = false)
    {
        var graph = new Graph("vae_decoder") { Circular = circular };
        var root = new Scope(graph);
        var z = graph.Input("z", new Shape(batch, height, width, config.LatentChannels), ElementType.Activation, Rate.Step);
        var s = root / "decoder";
        var x = (s / "conv_in").Conv((root / "post_quant_conv").Conv(z, config.LatentChannels, kernel: 1), config.Channels[^1]);

        var mid = s / "mid_block";
        x = ResBlock(mid / "resnets" / 0, x, x.C, config);
        x = SelfAttention(mid / "attentions" / 0, x, config);
        x = mid.Mark(ResBlock(mid / "resnets" / 1, x, x.C, config));

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

    private static Value ResBlock(Scope s, Value x, int channels, AutoencoderKlConfig config)
    {
        var h = (s / "conv1").Conv((s / "norm1").GroupNorm(x, config.Groups, Epsilon).Silu(), channels);
        h = (s / "conv2").Conv((s / "norm2").GroupNorm(h, config.Groups, Epsilon).Silu(), channels);
        return s.Mark(h + (x.C == channels ? x : (s / "conv_shortcut").Conv(x, channels, kernel: 1)));
    }

    /// <summary>One head over all pixels.</summary>
    private static Value SelfAttention(Scope s, Value x, AutoencoderKlConfig config)
    {
        var h = (s / "group_norm").GroupNorm(x, config.Groups, Epsilon);
        var (q, k, v) = ((s / "to_q").Linear(h, x.C), (s / "to_k").Linear(h, x.C), (s / "to_v").Linear(h, x.C));
        return s.Mark((s / "to_out" / 0).Linear(s.Attention(q, k, v, heads: 1), x.C) + x);
    }
}
