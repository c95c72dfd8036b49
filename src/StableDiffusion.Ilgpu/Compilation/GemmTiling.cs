using StableDiffusion.Ilgpu.Kernels.Gemm;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Compilation;

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
        a.TileRows = Math.Min(MostRows, Tile.RoundUp(a.Rows, Tile.Rows));
        var rowTiles = a.RowTiles;

        // Rows are dealt out evenly, and columns cut until there are a few tiles for each group.
        a.TileRows = Tile.RoundUp((a.Rows + rowTiles - 1) / rowTiles, Tile.Rows);
        a.TilePanels = Math.Min(MostPanels, a.Panels);
        while (a.TilePanels > 1 && a.Tiles < 3 * groups)
        {
            a.TilePanels--;
        }

        var panelTiles = (a.Panels + a.TilePanels - 1) / a.TilePanels;
        a.TilePanels = (a.Panels + panelTiles - 1) / panelTiles;
    }
}
