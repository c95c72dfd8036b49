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

    /// <summary>A split has at least so many blocks: another launch, which adds the sums, costs the time of some.</summary>
    private const int FewestBlocks = 40;

    private const int MostSplits = 16;

    /// <summary>Whether tensor cores compute this: copies need eight neighbouring channels, and a source that starts at a multiple of them.</summary>
    public static bool Fits(in GemmArguments<ushort> a) =>
        a.OutputPixels >= FewestRows && a.Channels % Align == 0 && a.SourcePitch % Align == 0 && a.Source % Align == 0
        && Math.Max(a.Height, a.Width) < short.MaxValue && a.SourceHeight <= a.Height && a.SourceWidth <= a.Width
        && (a.Circular == 0 || (a.Kernel <= a.Height && a.Kernel <= a.Width));

    /// <summary>Chooses tile and splits.</summary>
    public static void Choose(ref GemmArguments<ushort> a, int multiprocessors)
    {
        // Whole rounds of groups on all multiprocessors, in the time that a tile takes; the smaller it is, the less its copies are used.
        var splits = Splits(a, multiprocessors);
        var least = double.MaxValue;
        foreach (var (shape, efficiency) in new[]
        {
            (TensorTileShape.Of<WideTile>(), 1.0), (TensorTileShape.Of<SquareTile>(), 0.95), (TensorTileShape.Of<LowTile>(), 0.8),
            (TensorTileShape.Of<SmallTile>(), 0.5),
        })
        {
            var candidate = a with { TileRows = shape.Rows, TilePanels = shape.Panels };
            var rounds = (candidate.Tiles * splits + multiprocessors - 1) / Math.Max(1, multiprocessors);
            var time = rounds * shape.Rows * shape.Columns / efficiency;
            if (time < least)
            {
                (least, a.TileRows, a.TilePanels) = (time, shape.Rows, shape.Panels);
            }
        }
    }

    /// <summary>The arguments of the kernels, all but the memory.</summary>
    public static TensorGemmArguments Complete(in GemmArguments<ushort> a, int multiprocessors)
    {
        var (blocks, splits) = (Blocks(a), Splits(a, multiprocessors));
        var splitBlocks = (blocks + splits - 1) / splits;
        return new TensorGemmArguments
        {
            Gemm = a,
            Blocks = blocks,
            Splits = (blocks + splitBlocks - 1) / splitBlocks,
            SplitBlocks = splitBlocks,
            HeightRatio = Ratio(a.SourceHeight, a.Height),
            WidthRatio = Ratio(a.SourceWidth, a.Width),
            Vectors = a.Target % Align == 0 && a.TargetPitch % Align == 0
                && (a.Epilogue.HasResidual == 0 || (a.Residual % Align == 0 && a.ResidualPitch % Align == 0))
                && (a.Epilogue.HasItemBias == 0 || (a.ItemBias % Align == 0 && a.ItemBiasPitch % Align == 0)) ? 1 : 0,
        };
    }

    /// <summary>fp32 values that the splits' sums take.</summary>
    public static long Scratch(in TensorGemmArguments a) => a.Splits == 1 ? 0 : (long)a.Splits * a.Gemm.Rows * a.PackedColumns;

    private static int Blocks(in GemmArguments<ushort> a) =>
        a.Kernel * a.Kernel * ((a.Channels + TensorTileShape.Depth - 1) / TensorTileShape.Depth);

    /// <summary>As many as multiprocessors could take, where the low tiles of two items leave half of them without any.</summary>
    private static int Splits(in GemmArguments<ushort> a, int multiprocessors)
    {
        var low = TensorTileShape.Of<LowTile>();
        var tiles = (a with { Rows = UsualItems * a.OutputPixels, TileRows = low.Rows, TilePanels = low.Panels }).Tiles;
        return Math.Clamp(Math.Min(multiprocessors / tiles, Blocks(a) / FewestBlocks), 1, MostSplits);
    }

    private static uint Ratio(int stored, int seen) => stored == seen ? 0 : (uint)((((ulong)stored << 32) + (uint)seen - 1) / (uint)seen);
}
