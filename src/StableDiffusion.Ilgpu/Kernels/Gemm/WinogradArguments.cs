using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>A convolution of 3x3, stride 1 and padding 1 for <see cref="WinogradKernel{T, TLeaf}"/>.</summary>
internal struct WinogradArguments<T> where T : unmanaged
{
    /// <summary>The convolution; its tile is not used.</summary>
    public GemmArguments<T> Gemm;

    /// <summary>Blocks of 4x4 output pixels, panels and channels that a group works on at a time.</summary>
    public int TileBlocks;
    public int TilePanels;
    public int TileDepth;

    /// <summary>1 where the window sees the source at twice its size, each pixel doubled; else 0.</summary>
    public int Enlarged;

    public readonly int BlockColumns => (Gemm.Width + Winograd.Pixels - 1) / Winograd.Pixels;

    public readonly int BlocksPerItem => (Gemm.Height + Winograd.Pixels - 1) / Winograd.Pixels * BlockColumns;

    public readonly int Blocks => Gemm.Rows / Gemm.OutputPixels * BlocksPerItem;

    public readonly int BlockTiles => (Blocks + TileBlocks - 1) / TileBlocks;

    public readonly int Tiles => BlockTiles * ((Gemm.Panels + TilePanels - 1) / TilePanels);

    /// <summary>
    /// From one of the 36 values to the next one, of source, weights and sums, in fp32 values: a little more than they take, so that
    /// the 36 do not fall on the same cache sets.
    /// </summary>
    public readonly int SourceDistance => (TileBlocks * Winograd.SourcePitch) + Skew;

    public readonly int PanelDistance => (TileDepth * Tile.Columns) + Skew;

    public readonly int SumDistance => (TileBlocks * TilePanels * Tile.Columns) + Skew;

    /// <summary>fp32 scratch values of one group: the transformed source, one panel of weights, the sums, and the pixels of one block.</summary>
    public readonly int Scratch =>
        (Winograd.Values * (SourceDistance + PanelDistance + SumDistance)) + (Winograd.Pixels * Winograd.Pixels * TilePanels * Tile.Columns);

    private const int Skew = 16;
}

/// <summary>The sizes of F(4x4, 3x3).</summary>
internal static class Winograd
{
    /// <summary>Output pixels of a block, each way.</summary>
    public const int Pixels = 4;

    /// <summary>Source pixels of a block, each way.</summary>
    public const int Side = 6;

    /// <summary>Products of a block.</summary>
    public const int Values = Side * Side;

    /// <summary>Most channels that are transformed and multiplied at once.</summary>
    public const int Depth = 160;

    /// <summary>Pitch of the transformed source rows, as <see cref="Tile.SourcePitch"/> of others.</summary>
    public const int SourcePitch = Depth + 16;
}
