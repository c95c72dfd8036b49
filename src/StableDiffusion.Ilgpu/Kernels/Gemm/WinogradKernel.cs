using System.Runtime.CompilerServices;
using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>
/// 3x3 convolutions of stride 1 with a quarter of the multiplications: F(4x4, 3x3) of Lavin and Gray 2016 (arXiv:1509.09308). The picture is cut into
/// blocks of 4x4 output pixels; each block's 6x6 source pixels and the 3x3 weights are transformed to 36 values, which are
/// 36 matrix products over the channels, and transformed back. All of it is fp32 in a group's scratch, weights included: packed weights are those
/// of <see cref="GemmKernel{T, TLeaf}"/>, and every value of a block is summed in the same order whatever the tiles.
/// </summary>
internal static class WinogradKernel<T, TLeaf>
    where T : unmanaged
    where TLeaf : struct, ILeaf<T>
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(WinogradArguments<T> a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        var source = Grid.IdxX * a.Scratch;
        var panel = source + (Winograd.Values * a.SourceDistance);
        var sums = panel + (Winograd.Values * a.PanelDistance);
        var pixels = sums + (Winograd.Values * a.SumDistance);
        var tiles = a.Tiles;
        for (var tile = default(TLeaf).NextTile(counter, -1); tile < tiles; tile = default(TLeaf).NextTile(counter, tile))
        {
            // Neighbouring tiles share their weights.
            var firstBlock = tile % a.BlockTiles * a.TileBlocks;
            var firstPanel = tile / a.BlockTiles * a.TilePanels;
            var blocks = IntrinsicMath.Min(a.TileBlocks, a.Blocks - firstBlock);
            var panels = IntrinsicMath.Min(a.TilePanels, a.Gemm.Panels - firstPanel);
            for (var k = 0; k < a.Gemm.Channels; k += a.TileDepth)
            {
                var depth = IntrinsicMath.Min(a.TileDepth, a.Gemm.Channels - k);
                TransformSource(a, firstBlock, blocks, k, depth, scratch, source);
                for (var p = 0; p < panels; p++)
                {
                    Multiply(a, firstPanel + p, blocks, panels, k, depth, scratch, source, panel, sums + (p * Tile.Columns));
                }
            }

            Finish(a, firstBlock, blocks, firstPanel, panels, scratch, sums, pixels);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void TransformSource(
        WinogradArguments<T> a, int firstBlock, int blocks, int channel, int depth, ArrayView<float> scratch, int target)
    {
        var g = a.Gemm;
        for (var b = 0; b < blocks; b++)
        {
            var block = firstBlock + b;
            var item = block / a.BlocksPerItem;
            var y = block % a.BlocksPerItem / a.BlockColumns;
            var x = block % a.BlockColumns;
            default(TLeaf).TransformSource(
                g.Arena, g.Source + ((long)item * g.SourceHeight * g.SourceWidth * g.SourcePitch) + channel, g.SourceWidth * g.SourcePitch, g.SourcePitch,
                (y * Winograd.Pixels) - 1, (x * Winograd.Pixels) - 1, g.Height, g.Width, a.Enlarged,
                scratch, target + (b * Winograd.SourcePitch), a.SourceDistance, depth);
        }
    }

    /// <summary>One panel's 36 products for one part of the channels.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Multiply(
        WinogradArguments<T> a, int panelIndex, int blocks, int panels, int channel, int depth, ArrayView<float> scratch, int source, int panel, int sums)
    {
        var leaf = default(TLeaf);
        var packed = (((long)panelIndex * a.Gemm.Depth) + channel) * Tile.Columns;
        leaf.TransformWeights(
            a.Gemm.Weights, packed, a.Gemm.Channels * Tile.Columns, scratch, panel, a.PanelDistance, a.Gemm.PanelPitch, a.Gemm.PanelPitch * depth, depth);
        for (var i = 0; i < Winograd.Values; i++)
        {
            for (var column = 0; column < Tile.Columns; column += a.Gemm.PanelPitch)
            {
                leaf.Multiply(
                    scratch, source + (i * a.SourceDistance), Winograd.SourcePitch, scratch, panel + (i * a.PanelDistance) + (column * depth), a.Gemm.PanelPitch,
                    scratch, sums + (i * a.SumDistance) + column, panels * Tile.Columns, blocks, depth, channel > 0 ? 1 : 0);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Finish(
        WinogradArguments<T> a, int firstBlock, int blocks, int firstPanel, int panels, ArrayView<float> scratch, int sums, int pixels)
    {
        var g = a.Gemm;
        var pitch = panels * Tile.Columns;
        var column = firstPanel * Tile.Columns;
        var count = IntrinsicMath.Min(pitch, g.Columns - column);
        for (var b = 0; b < blocks; b++)
        {
            default(TLeaf).TransformSums(scratch, sums + (b * pitch), a.SumDistance, scratch, pixels, pitch);
            var block = firstBlock + b;
            var item = block / a.BlocksPerItem;
            var y = block % a.BlocksPerItem / a.BlockColumns * Winograd.Pixels;
            var x = block % a.BlockColumns * Winograd.Pixels;
            for (var i = 0; i < Winograd.Pixels * Winograd.Pixels; i++)
            {
                var (row, line) = (y + (i / Winograd.Pixels), x + (i % Winograd.Pixels));
                if (row < g.Height && line < g.Width)
                {
                    var pixel = (long)(item * g.OutputPixels) + (row * g.OutputWidth) + line;
                    default(TLeaf).Finish(
                        g.Epilogue, scratch, pixels + (i * pitch), g.Bias, column, g.Arena, g.ItemBias + ((long)item * g.ItemBiasPitch) + column,
                        g.Arena, g.Residual + (pixel * g.ResidualPitch) + column, g.Arena, g.Target + (pixel * g.TargetPitch) + column, count);
                }
            }
        }
    }
}
