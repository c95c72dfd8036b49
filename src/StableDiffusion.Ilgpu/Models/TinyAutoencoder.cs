using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Models;

/// <summary>Sizes of a TAESD: all layers have the same width, and each side of the picture has 8 pixels per latent.</summary>
internal sealed record TinyAutoencoderConfig(int LatentChannels, int Channels)
{
    public const int PixelsPerLatent = 8;
}

/// <summary>
/// TAESD, a small distilled autoencoder for Stable Diffusion's latents (Ollin Boer Bohan, github.com/madebyollin/taesd; weights named as in
/// diffusers' AutoencoderTiny). Latents are those of the UNet, not divided by the scaling factor; pictures are about -1 … 1, as those of
/// <see cref="AutoencoderKl"/>, although the layers themselves see 0 … 1.
/// </summary>
internal static class TinyAutoencoder
{
    private const int Stages = 4;

    private const int BlocksPerStage = 3;

    public static bool IsEncoderWeight(string name) => name.StartsWith("encoder.", StringComparison.Ordinal);

    public static bool IsDecoderWeight(string name) => name.StartsWith("decoder.", StringComparison.Ordinal);

    /// <summary>Input <c>z</c> (N, h, w, latent), output <c>out</c> (N, 8h, 8w, 3).</summary>
    public static Graph RecordDecoder(TinyAutoencoderConfig config, int batch, int height, int width, bool circular = false)
    {
        var graph = new Graph("taesd_decoder") { Circular = circular };
        var s = new Scope(graph) / "decoder" / "layers";
        var z = graph.Input("z", new Shape(batch, height, width, config.LatentChannels), ElementType.Activation, Rate.Step);
        var x = (s / 0).Conv(z.Activate(Activation.SoftClamp), config.Channels).Activate(Activation.Relu);

        // Layer 1 is the activation; each enlargement takes a number too.
        var layer = 2;
        for (var stage = 0; stage < Stages - 1; stage++)
        {
            for (var i = 0; i < BlocksPerStage; i++)
            {
                x = Block(s / layer++, x);
            }

            layer++;
            x = (s / layer++).Conv(x.Resize(x.Shape.H * 2, x.Shape.W * 2), config.Channels, Window.Same(3), bias: false);
        }

        x = Block(s / layer++, x);
        graph.Output("out", (s / layer).Conv(x, 3).Affine(2, -1));
        return graph;
    }

    /// <summary>Input <c>image</c> (N, h, w, 3), output <c>z</c> (N, h / 8, w / 8, latent), of which there is no distribution.</summary>
    public static Graph RecordEncoder(TinyAutoencoderConfig config, int batch, int height, int width, bool circular = false)
    {
        var graph = new Graph("taesd_encoder") { Circular = circular };
        var s = new Scope(graph) / "encoder" / "layers";
        var image = graph.Input("image", new Shape(batch, height, width, 3), ElementType.Activation, Rate.Step);
        var x = Block(s / 1, (s / 0).Conv(image.Affine(0.5, 0.5), config.Channels));
        var layer = 2;
        for (var stage = 1; stage < Stages; stage++)
        {
            x = (s / layer++).Conv(x, config.Channels, Window.Same(3, stride: 2), bias: false);
            for (var i = 0; i < BlocksPerStage; i++)
            {
                x = Block(s / layer++, x);
            }
        }

        graph.Output("z", (s / layer).Conv(x, config.LatentChannels));
        return graph;
    }

    /// <summary>relu(x + conv(relu(conv(relu(conv(x))))).</summary>
    private static Value Block(Scope s, Value x)
    {
        var h = (s / "conv" / 0).Conv(x, x.C).Activate(Activation.Relu);
        h = (s / "conv" / 2).Conv(h, x.C).Activate(Activation.Relu);
        return s.Mark(((s / "conv" / 4).Conv(h, x.C) + x).Activate(Activation.Relu));
    }
}
