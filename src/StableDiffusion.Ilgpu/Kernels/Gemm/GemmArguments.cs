using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>
/// C[m, n] = epilogue(sum over k of A[m, k] * W[k, n]): linear layers and convolutions. Row m is an output pixel (n, y, x); k runs over the
/// window's taps (top row first) and, within a tap, over the source's channels. A is never stored: it is read from the
/// channels-last source as it is needed (implicit im2col). Offsets and pitches are in elements.
/// </summary>
internal struct GemmArguments<T> where T : unmanaged
{
    /// <summary>Holds source, target, item bias and residual.</summary>
    public ArrayView<T> Arena;

    /// <summary>Panels of 32 columns, each [depth, 32]; columns beyond the last are zero.</summary>
    public ArrayView<T> Weights;

    /// <summary>One value a packed column.</summary>
    public ArrayView<float> Bias;

    public long Source;
    public long Target;
    public long ItemBias;
    public long Residual;
    public int SourcePitch;
    public int TargetPitch;

    /// <summary>Zero where all items share one row.</summary>
    public int ItemBiasPitch;
    public int ResidualPitch;

    /// <summary>Output pixels of one item's row, and of one item.</summary>
    public int OutputWidth;
    public int OutputPixels;

    /// <summary>Output pixels of all items.</summary>
    public int Rows;

    /// <summary>Size of the source as stored, and as the window sees it (larger where a nearest-neighbour enlargement is folded in).</summary>
    public int SourceHeight;
    public int SourceWidth;
    public int Height;
    public int Width;
    public int Channels;

    public int Kernel;
    public int Stride;
    public int PadLeft;
    public int PadTop;

    /// <summary>Not 0 where the window sees the source again beyond its edges, and not zeros.</summary>
    public int Circular;

    /// <summary>Kernel² * Channels.</summary>
    public int Depth;

    /// <summary>Stored columns: half of the packed ones with Geglu.</summary>
    public int Columns;
    public int Panels;
    public Epilogue Epilogue;

    /// <summary>Rows and panels of a tile; a tile is what one group computes at a time.</summary>
    public int TileRows;
    public int TilePanels;

    /// <summary>Columns that lie together in a widened panel, so that those which a leaf takes at a time fill whole cache sets.</summary>
    public int PanelPitch;

    /// <summary>True where output pixel i reads source pixel i alone: no taps, strides, padding or enlargement.</summary>
    public readonly bool IsPointwise =>
        Kernel == 1 && Stride == 1 && Height == SourceHeight && Width == SourceWidth && OutputPixels == Height * Width;

    /// <summary>Whether a pixel's channels are aligned and whole for work-items that read eight values at a time.</summary>
    public readonly bool IsSourceChunked => ((Source | (long)(SourcePitch | Channels)) & (Float8.Length - 1)) == 0;

    /// <summary>Whether target, residual and item bias are aligned for work-items that move eight columns at a time.</summary>
    public readonly bool IsTargetChunked =>
        ((Target | Residual | ItemBias | (long)(TargetPitch | ResidualPitch | ItemBiasPitch)) & (Float8.Length - 1)) == 0;

    /// <summary>
    /// The source's pixel that an output pixel sees through one tap of the window, counted over all items; -1 where it sees zeros, and beyond the
    /// last row.
    /// </summary>
    public readonly int SourcePixel(int row, int tapY, int tapX)
    {
        if (row >= Rows)
        {
            return -1;
        }

        if (IsPointwise)
        {
            return row;
        }

        var (item, pixel) = (row / OutputPixels, row % OutputPixels);
        var y = (pixel / OutputWidth * Stride) + tapY - PadTop;
        var x = (pixel % OutputWidth * Stride) + tapX - PadLeft;
        if (Circular != 0)
        {
            (y, x) = (Wrap(y, Height), Wrap(x, Width));
        }

        return y < 0 || y >= Height || x < 0 || x >= Width ? -1
            : (((item * SourceHeight) + (y * SourceHeight / Height)) * SourceWidth) + (x * SourceWidth / Width);
    }

    /// <summary>Where a circular source continues beyond its edges.</summary>
    public static int Wrap(int position, int size) => ((position % size) + size) % size;

    public readonly int RowTiles => (Rows + TileRows - 1) / TileRows;

    public readonly int Tiles => RowTiles * ((Panels + TilePanels - 1) / TilePanels);

    /// <summary>Columns that a packed panel stores.</summary>
    public readonly int PanelColumns => Epilogue.Geglu != 0 ? Tile.Columns / 2 : Tile.Columns;

    /// <summary>fp32 scratch values of one group: widened source rows, the columns of a panel that are multiplied at once, the sums.</summary>
    public readonly int Scratch => (TileRows * Tile.SourcePitch) + (Tile.Depth * PanelPitch) + (TileRows * TilePanels * Tile.Columns);
}
