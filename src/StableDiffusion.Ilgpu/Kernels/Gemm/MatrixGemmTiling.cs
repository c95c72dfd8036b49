using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>Which contractions matrix units compute, and with which tile. Results do not depend on the tile: every sum is taken in the order of the depth.</summary>
internal static class MatrixGemmTiling
{
    /// <summary>Below, for example for the layers of time embeddings, reading the weights is all that counts.</summary>
    private const int FewestRows = 16;

    /// <summary>Sub-groups that a multiprocessor should have at least, so that some multiply while others wait.</summary>
    private const int SubGroups = 16;

    /// <summary>Work-items that a device runs as one where a unit is one work-item's.</summary>
    private const int OtherLanes = 32;

    /// <summary>Whether matrix units compute this: copies need eight neighbouring channels. What an item's pixels give does not depend on its batch.</summary>
    public static bool Fits(in GemmArguments<ushort> a) => a.OutputPixels >= FewestRows && a.IsSourceChunked;

    /// <summary>Takes the large tile where there are enough of them.</summary>
    public static void Choose<TUnit>(ref GemmArguments<ushort> a, int multiprocessors) where TUnit : struct, IMatrixUnit
    {
        var lanes = default(TUnit).Lanes == 1 ? OtherLanes : default(TUnit).Lanes;
        Cut<LargeMatrixTile>(ref a);
        if (a.Tiles * default(LargeMatrixTile).WorkItems / lanes < (long)SubGroups * multiprocessors)
        {
            Cut<SmallMatrixTile>(ref a);
        }
    }

    /// <summary>Takes one tile, whatever the device has to do.</summary>
    public static void Cut<TTile>(ref GemmArguments<ushort> a) where TTile : struct, IMatrixTile =>
        (a.TileRows, a.TilePanels) = (default(TTile).Rows, default(TTile).Columns / Tile.Columns);
}
