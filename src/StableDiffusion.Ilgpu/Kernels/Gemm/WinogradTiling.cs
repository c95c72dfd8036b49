using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>
/// Which convolutions go through Winograd's transforms, and in which tiles. The choice looks at one item's size alone, so that a picture does not
/// depend on how many are computed with it.
/// </summary>
internal static class WinogradTiling
{
    /// <summary>Pixels below which transforming the weights costs what it saves.</summary>
    private const int FewestPixels = 16 * 16;

    /// <summary>Channels are transformed by whole registers.</summary>
    private const int ChannelMultiple = 16;

    // What 64 blocks, 5 panels and 160 channels take, 4 MB a group, is as fast as twice that and fits where several cores share a cache.
    private const int MostBlocks = 64;
    private const int MostPanels = 5;

    /// <summary>Measured: the transforms of weights and source beside the 36 products.</summary>
    private static readonly TileChoice Tiles = new(PanelRows: 12, RowPanels: 0.6);

    public static bool Fits<T>(in GemmArguments<T> a) where T : unmanaged =>
        a.Kernel == 3 && a.Stride == 1 && a.PadLeft == 1 && a.PadTop == 1 && a.OutputPixels == a.Height * a.Width && a.OutputWidth == a.Width
        && a.Channels % ChannelMultiple == 0 && a.OutputPixels >= FewestPixels && a.Epilogue.Geglu == 0 && a.Circular == 0
        && (IsStored(a) || IsDoubled(a));

    public static WinogradArguments<T> Choose<T>(in GemmArguments<T> gemm, int groups) where T : unmanaged
    {
        var a = new WinogradArguments<T> { Gemm = gemm, Enlarged = IsStored(gemm) ? 0 : 1, TileDepth = Math.Min(Winograd.Depth, gemm.Channels) };
        (a.TileBlocks, a.TilePanels) = Tiles.Best(a.Blocks, gemm.Panels, MostBlocks, MostPanels, groups);
        return a;
    }

    private static bool IsStored<T>(in GemmArguments<T> a) where T : unmanaged => a.Height == a.SourceHeight && a.Width == a.SourceWidth;

    private static bool IsDoubled<T>(in GemmArguments<T> a) where T : unmanaged =>
        a.Height == 2 * a.SourceHeight && a.Width == 2 * a.SourceWidth;
}
