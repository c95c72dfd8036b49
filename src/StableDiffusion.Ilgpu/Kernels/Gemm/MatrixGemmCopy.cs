using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>
/// A work-item's part in copying one tap of the window: a chunk of eight channels of four rows, and two channels of eight columns. What does not depend
/// on the channel is computed once.
/// </summary>
internal struct MatrixGemmCopy<TUnit, TTile>
    where TUnit : struct, IMatrixUnit
    where TTile : struct, IMatrixTile
{
    /// <summary>Channels that are copied at a time.</summary>
    public const int Depth = 32;

    private const int Chunks = Depth / Float8.Length;

    /// <summary>Chunks of a panel's columns.</summary>
    private const int PanelChunks = Tile.Columns / Float8.Length;

    private readonly int source0;
    private readonly int source1;
    private readonly int source2;
    private readonly int source3;

    /// <summary>Where the columns' first chunk lies.</summary>
    private readonly int weights;

    /// <param name="a">The contraction.</param>
    /// <param name="sources">Of each of the tile's rows what <see cref="SourceOf"/> says.</param>
    /// <param name="firstPanel">The tile's.</param>
    /// <param name="tap">Of the window.</param>
    public MatrixGemmCopy(GemmArguments<ushort> a, ArrayView<int> sources, int firstPanel, int tap)
    {
        source0 = sources[Row];
        source1 = sources[Row + Rows];
        source2 = sources[Row + (2 * Rows)];
        source3 = sources[Row + (3 * Rows)];
        var panel = IntrinsicMath.Min(firstPanel + (Column / Tile.Columns), a.Panels - 1);
        weights = (((panel * a.Depth) + (tap * a.Channels) + (2 * Pair)) * PanelChunks) + (Column % Tile.Columns / Float8.Length);
    }

    /// <summary>Neighbouring work-items have neighbouring chunks.</summary>
    private static int Chunk => Group.IdxX % Chunks;

    private static int Row => Group.IdxX / Chunks;

    /// <summary>From one of a work-item's rows to the next.</summary>
    private static int Rows => default(TTile).WorkItems / Chunks;

    private static int Column => Group.IdxX % (default(TTile).Columns / Float8.Length) * Float8.Length;

    private static int Pair => Group.IdxX / (default(TTile).Columns / Float8.Length);

    /// <summary>
    /// Copies 32 channels: of the tile's rows, zeros where a row has no pixel and beyond the last channel; and of its columns, the last channel's weights again there, to
    /// be multiplied by zeros, and beyond the last panel that one's, whose sums are not stored. All is read before anything is written.
    /// </summary>
    /// <param name="a">The contraction.</param>
    /// <param name="channel">The first.</param>
    /// <param name="target">Source, then weights.</param>
    /// <param name="weightsAt">Where the weights begin.</param>
    public readonly void Run(GemmArguments<ushort> a, int channel, ArrayView<HalfChunk> target, int weightsAt)
    {
        var last = a.Channels - ((Chunk + 1) * Float8.Length);
        var from = (IntrinsicMath.Min(channel, last) / Float8.Length) + Chunk;
        var (chunk0, chunk1, chunk2, chunk3) = (Read(a, source0, from), Read(a, source1, from), Read(a, source2, from), Read(a, source3, from));
        var packed = a.Weights.Cast<HalfChunk>();
        var by = weights + (IntrinsicMath.Min(channel, a.Channels - 2 - (2 * Pair)) * PanelChunks);
        var (first, second) = (packed[by], packed[by + PanelChunks]);
        var present = ~((last - channel) >> 31);
        MatrixFragments<TUnit>.StoreChunk(HalfChunk.And(chunk0, present & ~(source0 >> 31)), target, default(TTile).Rows, Row, Chunk);
        MatrixFragments<TUnit>.StoreChunk(HalfChunk.And(chunk1, present & ~(source1 >> 31)), target, default(TTile).Rows, Row + Rows, Chunk);
        MatrixFragments<TUnit>.StoreChunk(HalfChunk.And(chunk2, present & ~(source2 >> 31)), target, default(TTile).Rows, Row + (2 * Rows), Chunk);
        MatrixFragments<TUnit>.StoreChunk(HalfChunk.And(chunk3, present & ~(source3 >> 31)), target, default(TTile).Rows, Row + (3 * Rows), Chunk);
        MatrixFragments<TUnit>.StorePairs(first, second, target.SubView(weightsAt), default(TTile).Columns, Column, Pair);
    }

    /// <summary>Where the first chunk of a row lies in the arena, in chunks; negative for a row without a pixel.</summary>
    public static int SourceOf(GemmArguments<ushort> a, int row, int tap)
    {
        var pixel = a.SourcePixel(row, tap / a.Kernel, tap % a.Kernel);
        return pixel < 0 ? pixel : (int)(a.Source / Float8.Length) + (pixel * (a.SourcePitch / Float8.Length));
    }

    private static HalfChunk Read(GemmArguments<ushort> a, int source, int chunk) => a.Arena.Cast<HalfChunk>()[IntrinsicMath.Max(source, 0) + chunk];
}
