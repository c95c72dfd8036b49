using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>
/// How a contraction is cut into tiles. A tall tile spreads the widening of weights over many rows, a broad one that of the source over
/// many columns; both are held to what a core's second-level cache takes. Results do not depend on it: every sum is taken
/// in the order of the depth.
/// </summary>
internal static class GemmTiling
{
    private const int MostRows = 120;
    private const int MostPanels = 20;

    public static void Choose<T>(ref GemmArguments<T> a, int groups) where T : unmanaged
    {
        a.TileRows = Rows(a.Rows, MostRows);
        a.TilePanels = Panels(a.Panels, MostPanels, a.RowTiles, groups);
    }

    /// <summary>Rows of a tile, so that all are dealt out evenly.</summary>
    public static int Rows(int rows, int most)
    {
        var tiles = Parts(rows, Math.Min(most, Tile.RoundUp(rows, Tile.Rows)));
        return Tile.RoundUp(Parts(rows, tiles), Tile.Rows);
    }

    /// <summary>Panels of a tile: cut until there are a few tiles for each group, then dealt out evenly.</summary>
    public static int Panels(int panels, int most, int rowTiles, int groups)
    {
        var size = Math.Min(most, panels);
        while (size > 1 && rowTiles * Parts(panels, size) < 3 * groups)
        {
            size--;
        }

        return Parts(panels, Parts(panels, size));
    }

    /// <summary>How many parts of a size hold all.</summary>
    private static int Parts(int all, int size) => (all + size - 1) / size;
}
