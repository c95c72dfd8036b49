namespace StableDiffusion.Ilgpu.Tests;

/// <summary>Attention of the shapes that kernels for matrices tell apart.</summary>
internal static class AttentionRuns
{
    /// <summary>
    /// Weights and outputs are rounded to fp16, each by 2^-11 of at most the largest value, which is 3. All else is rounded to fp32.
    /// </summary>
    public const double HalfLimit = 2 * 3.0 / 2048;

    /// <summary>For heads of a size.</summary>
    public static IEnumerable<AttentionRun> Of(int size) =>
    [
        new(1, 1, size, 1, 1), new(1, 2, size, 15, 64), new(1, 1, size, 64, 63), new(2, 1, size, 65, 77), new(1, 1, size, 17, 17),
        new(1, 1, size, 130, 15), new(2, 2, size, 63, 130), new(1, 1, size, 129, 192) { Gaps = (0, 0, 0, 0) },
        new(1, 2, size, 77, 77) { Causal = true }, new(2, 1, size, 130, 130) { Causal = true }, new(1, 1, size, 33, 80) { LargeLogits = true },
        new(1, 1, size, 65, 210) { RisingLogits = true }, new(1, 1, size, 70, 70) { RisingLogits = true, Causal = true },
        new(1, 1, size, 33, 130) { RisingLogits = true, LargeLogits = true },

        // Half of the rows have logits far below 0; eight of a tile's rows have large ones, and the other eight do not exist; a row alone.
        new(1, 1, size, 33, 1) { HugeLogits = true }, new(1, 1, size, 8, 80) { HugeLogits = true }, new(1, 1, size, 1, 80) { HugeLogits = true },
    ];
}
