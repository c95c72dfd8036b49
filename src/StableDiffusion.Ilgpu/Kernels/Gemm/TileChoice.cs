using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>
/// Which tiles a processor's groups cut rows and panels into: those after which the last group is done first, by a model of the time in which one row
/// times one panel takes 1. Tiles are dealt to whichever group is free, so the larger they are, the longer some may wait for the last one; the smaller,
/// the more often weights and source are made ready.
/// </summary>
/// <param name="PanelRows">Rows in whose multiplications a tile's panel of weights is made ready.</param>
/// <param name="RowPanels">Panels in whose multiplications a tile's row is made ready.</param>
internal readonly record struct TileChoice(double PanelRows, double RowPanels)
{
    /// <summary>Rows, a multiple of <see cref="Tile.Rows"/>, and panels of a tile, up to the most of each.</summary>
    public (int Rows, int Panels) Best(int rows, int panels, int mostRows, int mostPanels, int groups)
    {
        var (best, least) = ((0, 0), double.MaxValue);
        for (var tileRows = Math.Min(mostRows, Tile.RoundUp(rows, Tile.Rows)); tileRows > 0; tileRows -= Tile.Rows)
        {
            for (var tilePanels = Math.Min(mostPanels, panels); tilePanels > 0; tilePanels--)
            {
                var time = Time(rows, panels, tileRows, tilePanels, groups);
                if (time < least)
                {
                    (best, least) = ((tileRows, tilePanels), time);
                }
            }
        }

        return best;
    }

    /// <summary>
    /// At most this long it takes until the last group is done: as many rounds of whole tiles as there are tiles, or, where that is less because tiles at
    /// the end are cut off, what Graham 1966 showed of any such dealing.
    /// </summary>
    public double Time(int rows, int panels, int tileRows, int tilePanels, int groups)
    {
        var (rowTiles, panelTiles) = (Parts(rows, tileRows), Parts(panels, tilePanels));
        var all = (rows + (rowTiles * PanelRows)) * (panels + (panelTiles * RowPanels));
        var largest = Cost(Math.Min(tileRows, rows), tilePanels);
        return Math.Min(Parts(rowTiles * panelTiles, groups) * largest, (all / groups) + (largest * (groups - 1) / groups));
    }

    /// <summary>What one tile takes.</summary>
    public double Cost(int rows, int panels) => (rows + PanelRows) * (panels + RowPanels);

    /// <summary>How many parts of a size hold all.</summary>
    private static int Parts(int all, int size) => (all + size - 1) / size;
}
