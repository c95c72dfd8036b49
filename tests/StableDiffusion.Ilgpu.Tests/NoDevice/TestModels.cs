using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Models;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Recorded models for tests that need no weights: Stable Diffusion 1.5, and small ones of the same structure.</summary>
internal static class TestModels
{
    public static UNetConfig Sd15UNet { get; } = new(
        4, 4, [320, 640, 1280, 1280], ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
        ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
        2, [8, 8, 8, 8], 768, 32, 1e-5, true, 0, false, 64);

    public static AutoencoderKlConfig Sd15Vae { get; } = new(3, 3, [128, 256, 512, 512], 2, 4, 32, 0.18215);

    public static ClipTextConfig Sd15Text { get; } = new(49408, 77, 768, 3072, 12, 12, "quick_gelu", 1e-5);

    public static Graph UNet15(int size = 64) => UNet.Record(Sd15UNet, batch: 2, size, size, tokens: 77);

    /// <summary>All models, the small UNet at a size that does not halve evenly.</summary>
    public static IEnumerable<Graph> SmallGraphs() =>
    [
        UNet.Record(
            new UNetConfig(
                4, 4, [16, 32, 32], ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
                ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"], 1, [2, 2, 2], 24, 8, 1e-5, true, 0, false, 8),
            batch: 2, height: 6, width: 7, tokens: 5),
        AutoencoderKl.RecordDecoder(new AutoencoderKlConfig(3, 3, [8, 16], 1, 4, 4, 0.18215), batch: 1, height: 3, width: 5),
        TinyAutoencoder.RecordDecoder(new TinyAutoencoderConfig(4, 8), batch: 2, height: 2, width: 3),
        TinyAutoencoder.RecordEncoder(new TinyAutoencoderConfig(4, 8), batch: 2, height: 16, width: 24),
        ClipText.Record(new ClipTextConfig(50, 7, 16, 64, 2, 2, "quick_gelu", 1e-5), batch: 2),
    ];

    /// <summary>All rules, none, and each one alone switched off.</summary>
    public static IEnumerable<(string Name, FusionOptions Options)> Options()
    {
        var all = FusionOptions.All;
        return
        [
            ("all", all), ("none", FusionOptions.None), ("no MergeSiblings", all with { MergeSiblings = false }),
            ("no FoldResize", all with { FoldResize = false }), ("no FuseGeglu", all with { FuseGeglu = false }),
            ("no FuseActivation", all with { FuseActivation = false }), ("no FuseItemBias", all with { FuseItemBias = false }),
            ("no FuseResidual", all with { FuseResidual = false }), ("no FuseNormSilu", all with { FuseNormSilu = false }),
            ("no FoldConcat", all with { FoldConcat = false }), ("no InPlace", all with { InPlace = false }),
        ];
    }
}
