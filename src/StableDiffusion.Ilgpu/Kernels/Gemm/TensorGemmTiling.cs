using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>
/// Which contractions tensor cores compute, and how they are cut. Sums do not depend on the tile; they do depend on the number of splits, which
/// follows from the size of one item, so that an item's result does not depend on its batch.
/// </summary>
internal static class TensorGemmTiling
{
    /// <summary>Below, for example for the layers of time embeddings, reading the weights is all that counts.</summary>
    private const int FewestRows = 16;

    private const int Align = 8;

    /// <summary>Items that the number of splits is chosen for: a picture with guidance.</summary>
    private const int UsualItems = 2;

    /// <summary>Blocks of 32 channels that a split has at least.</summary>
    private const int FewestBlocks = 16;

    private const int MostSplits = 16;

    /// <summary>Whether tensor cores compute this: copies need eight neighbouring channels, and a source that starts at a multiple of them.</summary>
    public static bool Fits(in GemmArguments<ushort> a) =>
        a.OutputPixels >= FewestRows && a.Kernel <= byte.MaxValue && a.Channels % Align == 0 && a.SourcePitch % Align == 0 && a.Source % Align == 0
        && Math.Max(a.Height, a.Width) < short.MaxValue && a.SourceHeight <= a.Height && a.SourceWidth <= a.Width
        && (a.Circular == 0 || (a.Kernel <= a.Height && a.Kernel <= a.Width));

    /// <summary>Chooses the tile, given the splits.</summary>
    public static void Choose(ref GemmArguments<ushort> a, int multiprocessors, bool warpgroups)
    {
        var splits = Splits(a, multiprocessors, warpgroups);
        var least = double.MaxValue;
        foreach (var shape in Shapes(warpgroups))
        {
            var time = Time(a, shape, splits, multiprocessors);
            if (time < least)
            {
                (least, a.TileRows, a.TilePanels) = (time, shape.Rows, shape.Panels);
            }
        }
    }

    /// <summary>The arguments of the kernels, all but the memory.</summary>
    public static TensorGemmArguments Complete(in GemmArguments<ushort> a, int multiprocessors, bool warpgroups)
    {
        var (blocks, splits) = (Blocks(a, BlockDepth(warpgroups)), Splits(a, multiprocessors, warpgroups));
        var (splitBlocks, tapBlocks) = ((blocks + splits - 1) / splits, blocks / (a.Kernel * a.Kernel));
        return new TensorGemmArguments
        {
            Gemm = a,
            Blocks = blocks,
            Splits = (blocks + splitBlocks - 1) / splitBlocks,
            SplitBlocks = splitBlocks,
            HeightRatio = Ratio(a.SourceHeight, a.Height),
            WidthRatio = Ratio(a.SourceWidth, a.Width),
            Vectors = a.IsTargetChunked ? 1 : 0,
            IsPointwise = a.IsPointwise ? 1 : 0,
            OutputPixels = new Divisor(a.OutputPixels),
            OutputWidth = new Divisor(a.OutputWidth),
            TapBlocks = tapBlocks,
            TapDivisor = new Divisor(tapBlocks),
            KernelDivisor = new Divisor(a.Kernel),
        };
    }

    /// <summary>fp32 values that the splits' sums take.</summary>
    public static long Scratch(in TensorGemmArguments a) => a.Splits == 1 ? 0 : (long)a.Splits * a.Gemm.Rows * a.PackedColumns;

    private static int Blocks(in GemmArguments<ushort> a, int blockDepth) =>
        a.Kernel * a.Kernel * ((a.Channels + blockDepth - 1) / blockDepth);

    /// <summary>What is fastest for two items, with the best tile for each number.</summary>
    private static int Splits(in GemmArguments<ushort> a, int multiprocessors, bool warpgroups)
    {
        var usual = a with { Rows = UsualItems * a.OutputPixels };
        var blockDepth = BlockDepth(warpgroups);
        var most = Math.Clamp(Blocks(a, blockDepth) * blockDepth / 32 / FewestBlocks, 1, MostSplits);
        var (best, least) = (1, double.MaxValue);
        for (var splits = 1; splits <= most; splits++)
        {
            foreach (var shape in Shapes(warpgroups))
            {
                var time = Time(usual, shape, splits, multiprocessors);
                if (time < least)
                {
                    (best, least) = (splits, time);
                }
            }
        }

        return best;
    }

    /// <summary>
    /// What a contraction takes, in cycles, as measured on an H100. A multiprocessor's copies are what counts: a line of 128 bytes takes 2.5 cycles. Before and
    /// after the loop a group waits for memory, which another one on the same multiprocessor hides. Splits' sums are written and read, and cost a launch.
    /// </summary>
    private static double Time(in GemmArguments<ushort> a, TensorTileShape shape, int splits, int multiprocessors)
    {
        const double LineCycles = 2.5, ValueCycles = 0.45, GroupCycles = 4000, LaunchCycles = 6000, BytesPerCycle = 2500;
        var tiles = (a with { TileRows = shape.Rows, TilePanels = shape.Panels }).Tiles;
        var groups = Math.Ceiling((double)tiles * splits / Math.Max(1, multiprocessors));
        var lines = (shape.Rows + shape.Columns) * (double)a.Kernel * a.Kernel * a.Channels / 64 / splits;
        var ends = (GroupCycles + (ValueCycles * shape.Rows * shape.Columns)) * (0.75 + (0.25 * groups));
        var adding = splits == 1 ? 0 : LaunchCycles + (2.0 * sizeof(float) * splits * a.Rows * a.Panels * Tile.Columns / BytesPerCycle);
        return (groups * lines * LineCycles) + ends + adding;
    }

    private static int BlockDepth(bool warpgroups) => warpgroups ? default(WarpgroupLoop).Depth : default(WarpLoop).Depth;

    private static TensorTileShape[] Shapes(bool warpgroups) => warpgroups ? WarpgroupShapes : WarpShapes;

    private static readonly TensorTileShape[] WarpShapes =
        [TensorTileShape.Of<WideTile>(), TensorTileShape.Of<SquareTile>(), TensorTileShape.Of<LowTile>(), TensorTileShape.Of<SmallTile>()];

    private static readonly TensorTileShape[] WarpgroupShapes =
    [
        TensorTileShape.Of<WideTile>(), TensorTileShape.Of<SquareTile>(), TensorTileShape.Of<TallTile>(), TensorTileShape.Of<NarrowTile>(),
        TensorTileShape.Of<SmallTile>(),
    ];

    private static uint Ratio(int stored, int seen) => stored == seen ? 0 : (uint)((((ulong)stored << 32) + (uint)seen - 1) / (uint)seen);
}
