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

    /// <summary>Measured (AVX2 and AVX-512), with weights and source as often in a cache as in memory.</summary>
    internal static readonly TileChoice Tiles = new(PanelRows: 6, RowPanels: 1);

    public static void Choose<T>(ref GemmArguments<T> a, int groups) where T : unmanaged =>
        (a.TileRows, a.TilePanels) = Tiles.Best(a.Rows, a.Panels, MostRows, MostPanels, groups);
}
