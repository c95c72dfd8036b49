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
    public static void Choose(ref GemmArguments<ushort> a, TensorDevice device)
    {
        var (spans, splits) = Plan(a, device);
        var least = double.MaxValue;
        foreach (var shape in Shapes(device, spans))
        {
            var time = Time(a, shape, splits, device, spans);
            if (time < least)
            {
                (least, a.TileRows, a.TilePanels) = (time, shape.Rows, shape.Panels);
            }
        }
    }

    /// <summary>Takes the device's largest tile, whatever would be best.</summary>
    public static void ChooseLargest(ref GemmArguments<ushort> a, TensorDevice device)
    {
        var largest = Shapes(device, spans: false)[0];
        (a.TileRows, a.TilePanels) = (largest.Rows, largest.Panels);
    }

    /// <summary>The arguments of the kernels, all but the memory.</summary>
    public static TensorGemmArguments Complete(in GemmArguments<ushort> a, TensorDevice device)
    {
        // A block of spans has all taps: the first one's blocks are all that there are.
        var (spans, splits) = Plan(a, device);
        var tapBlocks = TapBlocks(a, BlockDepth(device));
        var blocks = spans ? tapBlocks : tapBlocks * a.Kernel * a.Kernel;
        var splitBlocks = (blocks + splits - 1) / splits;
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

    private static bool CanTakeSpans(in GemmArguments<ushort> a) =>
        a is { Kernel: 3, Stride: 1, PadLeft: 1, PadTop: 1, Circular: 0 } && a.Channels % default(SpanLoop).Depth == 0
        && a.Height == a.SourceHeight && a.Width == a.SourceWidth && a.OutputWidth == a.Width && a.OutputPixels == a.Height * a.Width;

    private static bool[] Ways(in GemmArguments<ushort> a, TensorDevice device) =>
        device.Spans == SpanUse.Never || !CanTakeSpans(a) ? [false] : device.Spans == SpanUse.WhereFaster ? [false, true] : [true];

    private static int TapBlocks(in GemmArguments<ushort> a, int blockDepth) => (a.Channels + blockDepth - 1) / blockDepth;

    /// <summary>What is fastest for two items, with the best tile for each number of splits.</summary>
    private static (bool Spans, int Splits) Plan(in GemmArguments<ushort> a, TensorDevice device)
    {
        var usual = a with { Rows = UsualItems * a.OutputPixels };
        var best = (false, 1);
        var least = double.MaxValue;
        foreach (var spans in Ways(a, device))
        {
            var blockDepth = BlockDepth(device);
            var most = spans ? a.Channels / blockDepth : a.Kernel * a.Kernel * TapBlocks(a, blockDepth) * blockDepth / 32 / FewestBlocks;
            for (var splits = 1; splits <= Math.Clamp(most, 1, MostSplits); splits++)
            {
                foreach (var shape in Shapes(device, spans))
                {
                    var time = Time(usual, shape, splits, device, spans);
                    if (time < least)
                    {
                        (best, least) = ((spans, splits), time);
                    }
                }
            }
        }

        return best;
    }

    /// <summary>
    /// What a contraction takes, in cycles, as measured on an H100, with each GPU's own products and copies. A multiprocessor's copies or its products are what counts: on Hopper the copies, but with spans; on
    /// most other GPUs the products. Before and after the loop a group waits for memory, which another one on the same multiprocessor hides; with spans a group is
    /// alone. Splits' sums are written and read, by all multiprocessors at about a third of what they copy, and cost a launch.
    /// </summary>
    private static double Time(in GemmArguments<ushort> a, TensorTileShape shape, int splits, TensorDevice device, bool spans)
    {
        const double ValueCycles = 0.45, GroupCycles = 4000, LaunchCycles = 6000, LineShare = 0.37;
        var tiles = (a with { TileRows = shape.Rows, TilePanels = shape.Panels }).Tiles;
        var groups = Math.Ceiling((double)tiles * splits / Math.Max(1, device.Multiprocessors));
        var depth = (double)a.Kernel * a.Kernel * a.Channels / 64 / splits;
        var lines = (shape.Rows + shape.Columns) * depth;
        var hidden = 0.75;
        if (spans)
        {
            depth = SpanMultiplyText.Taps * Math.Ceiling(a.Channels / 64.0 / splits);
            lines = (shape.Columns + (SpanMultiplyText.PixelsOf(a.Width) / (double)SpanMultiplyText.Taps)) * depth;
            hidden = 0;
        }

        var loop = Math.Max(lines * device.Cores.LineCycles, depth * 64 * shape.Rows * shape.Columns / device.Cores.Products);
        var ends = (GroupCycles + (ValueCycles * shape.Rows * shape.Columns)) * (hidden + ((1 - hidden) * groups));
        var bytesPerCycle = LineShare * 128 * Math.Max(1, device.Multiprocessors) / device.Cores.LineCycles;
        var adding = splits == 1 ? 0 : LaunchCycles + (2.0 * sizeof(float) * splits * a.Rows * a.Panels * Tile.Columns / bytesPerCycle);
        return (groups * loop) + ends + adding;
    }

    private static int BlockDepth(TensorDevice device) => device.Cores.Warpgroups ? default(WarpgroupLoop).Depth : default(WarpLoop).Depth;

    private static TensorTileShape[] Shapes(TensorDevice device, bool spans) => spans ? SpanShapes : device.Cores.Loop switch
    {
        TensorLoopKind.Warpgroups => WarpgroupShapes,
        TensorLoopKind.TuringWarps => TuringShapes,
        _ => WarpShapes,
    };

    /// <summary>Of which more than one group fits a multiprocessor, for one's beginning and end beside another's products.</summary>
    private static readonly TensorTileShape[] TuringShapes = [TensorTileShape.Of<TallTile>(), TensorTileShape.Of<SmallTile>()];

    private static readonly TensorTileShape[] WarpShapes =
        [TensorTileShape.Of<WideTile>(), TensorTileShape.Of<SquareTile>(), TensorTileShape.Of<LowTile>(), TensorTileShape.Of<SmallTile>()];

    private static readonly TensorTileShape[] WarpgroupShapes =
    [
        TensorTileShape.Of<WideTile>(), TensorTileShape.Of<SquareTile>(), TensorTileShape.Of<TallTile>(), TensorTileShape.Of<NarrowTile>(),
        TensorTileShape.Of<SmallTile>(),
    ];

    private static readonly TensorTileShape[] SpanShapes = [TensorTileShape.Of<WideTile>(), TensorTileShape.Of<SquareTile>()];

    private static uint Ratio(int stored, int seen) => stored == seen ? 0 : (uint)((((ulong)stored << 32) + (uint)seen - 1) / (uint)seen);
}

/// <summary>What contractions are cut for.</summary>
/// <param name="Multiprocessors">How many there are.</param>
/// <param name="Cores">What each of them can do.</param>
/// <param name="Spans">Which 3x3 convolutions copy source pixels once for all taps; with <c>wgmma</c> only.</param>
internal readonly record struct TensorDevice(int Multiprocessors, TensorCores Cores, SpanUse Spans);

/// <summary>Which of the convolutions that could do so copy source pixels once for all taps.</summary>
internal enum SpanUse
{
    Never,

    /// <summary>As <see cref="TensorGemmTiling"/> estimates it.</summary>
    WhereFaster,

    Always,
}
