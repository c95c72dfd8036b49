using System.Runtime.CompilerServices;
using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>
/// The main loop for devices whose groups have one work-item: each group takes tiles from a counter; for every part of the depth it
/// widens the tile's source rows once and each panel of weights once, and multiplies.
/// </summary>
internal static class GemmKernel<T, TLeaf>
    where T : unmanaged
    where TLeaf : struct, ILeaf<T>
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(GemmArguments<T> a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        var leaf = default(TLeaf);
        var source = Grid.IdxX * a.Scratch;
        var panel = source + (a.TileRows * Tile.SourcePitch);
        var sums = panel + (Tile.Depth * a.PanelPitch);
        var tiles = a.Tiles;
        for (var tile = default(TLeaf).NextTile(counter, -1); tile < tiles; tile = default(TLeaf).NextTile(counter, tile))
        {
            // Neighbouring tiles share their weights.
            var firstRow = tile % a.RowTiles * a.TileRows;
            var firstPanel = tile / a.RowTiles * a.TilePanels;
            var rows = IntrinsicMath.Min(a.TileRows, a.Rows - firstRow);
            var panels = IntrinsicMath.Min(a.TilePanels, a.Panels - firstPanel);
            var pitch = panels * Tile.Columns;
            for (var k = 0; k < a.Depth; k += Tile.Depth)
            {
                var depth = IntrinsicMath.Min(Tile.Depth, a.Depth - k);
                WidenSource(a, firstRow, rows, k, depth, scratch, source);
                for (var p = 0; p < panels; p++)
                {
                    var packed = (((long)(firstPanel + p) * a.Depth) + k) * Tile.Columns;
                    for (var column = 0; column < Tile.Columns; column += a.PanelPitch)
                    {
                        leaf.Widen(a.Weights, packed + column, Tile.Columns, scratch, panel, a.PanelPitch, depth, a.PanelPitch);
                        leaf.Multiply(
                            scratch, source, Tile.SourcePitch, scratch, panel, a.PanelPitch, scratch, sums + (p * Tile.Columns) + column, pitch, rows, depth,
                            k > 0 ? 1 : 0);
                    }
                }
            }

            Finish(a, firstRow, rows, firstPanel, panels, scratch, sums);
        }
    }

    /// <summary>Rows of A for depths k … k + depth, as fp32 at the pitch <see cref="Tile.SourcePitch"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void WidenSource(GemmArguments<T> a, int firstRow, int rows, int k, int depth, ArrayView<float> scratch, int target)
    {
        for (var done = 0; done < depth;)
        {
            var tap = (k + done) / a.Channels;
            var channel = (k + done) % a.Channels;
            var count = IntrinsicMath.Min(a.Channels - channel, depth - done);
            if (a.IsPointwise)
            {
                var first = a.Source + ((long)firstRow * a.SourcePitch) + channel;
                default(TLeaf).Widen(a.Arena, first, a.SourcePitch, scratch, target + done, Tile.SourcePitch, rows, count);
            }
            else
            {
                WidenTap(a, firstRow, rows, tap / a.Kernel, tap % a.Kernel, channel, count, scratch, target + done);
            }

            done += count;
        }
    }

    /// <summary>What one tap of the window sees of <paramref name="count"/> channels, for a tile's rows: run by run of output pixels in one image row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void WidenTap(
        GemmArguments<T> a, int firstRow, int rows, int tapY, int tapX, int channel, int count, ArrayView<float> scratch, int target)
    {
        for (var done = 0; done < rows;)
        {
            var pixel = (firstRow + done) % a.OutputPixels;
            var x = pixel % a.OutputWidth;
            var run = IntrinsicMath.Min(a.OutputWidth - x, rows - done);
            var sourceY = (pixel / a.OutputWidth * a.Stride) + tapY - a.PadTop;
            if (a.Circular != 0)
            {
                sourceY = GemmArguments<T>.Wrap(sourceY, a.Height);
            }

            var sourceX = (x * a.Stride) + tapX - a.PadLeft;

            // Of the run, pixels from start to end lie inside the source.
            var start = sourceX < 0 ? IntrinsicMath.Min(run, (a.Stride - 1 - sourceX) / a.Stride) : 0;
            var end = IntrinsicMath.Min(run, sourceX < a.Width ? (a.Width - sourceX + a.Stride - 1) / a.Stride : 0);
            if (sourceY < 0 || sourceY >= a.Height || end < start)
            {
                start = end = run;
            }

            var to = target + (done * Tile.SourcePitch);
            var item = (long)((firstRow + done) / a.OutputPixels) * a.SourceHeight;
            if (a.Circular != 0)
            {
                var line = a.Source + ((item + (sourceY * a.SourceHeight / a.Height)) * a.SourceWidth * a.SourcePitch) + channel;
                WidenWrapped(a, line, sourceX, 0, start, count, scratch, to);
                WidenWrapped(a, line, sourceX, end, run, count, scratch, to);
            }
            else
            {
                default(TLeaf).Clear(scratch, to, Tile.SourcePitch, start, count);
                default(TLeaf).Clear(scratch, to + (end * Tile.SourcePitch), Tile.SourcePitch, run - end, count);
            }

            if (start < end)
            {
                if (a.Height == a.SourceHeight && a.Width == a.SourceWidth)
                {
                    var from = ((item + sourceY) * a.SourceWidth) + sourceX + (start * a.Stride);
                    default(TLeaf).Widen(
                        a.Arena, a.Source + (from * a.SourcePitch) + channel, a.Stride * a.SourcePitch, scratch, to + (start * Tile.SourcePitch),
                        Tile.SourcePitch, end - start, count);
                }
                else
                {
                    var line = a.Source + ((item + (sourceY * a.SourceHeight / a.Height)) * a.SourceWidth * a.SourcePitch) + channel;
                    WidenResized(a, line, sourceX, start, end, count, scratch, to);
                }
            }

            done += run;
        }
    }

    /// <summary>Pixels start … end of a run that begins at column <paramref name="x"/> of the enlarged source, of which <paramref name="line"/> is a row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void WidenResized(
        GemmArguments<T> a, long line, int x, int start, int end, int count, ArrayView<float> scratch, int target)
    {
        if (a.Width == 2 * a.SourceWidth && a.Stride == 1)
        {
            // Every other pixel reads the next one of the source.
            for (var first = start; first < IntrinsicMath.Min(end, start + 2); first++)
            {
                default(TLeaf).Widen(
                    a.Arena, line + ((x + first) / 2 * (long)a.SourcePitch), a.SourcePitch, scratch, target + (first * Tile.SourcePitch), 2 * Tile.SourcePitch,
                    (end - first + 1) / 2, count);
            }

            return;
        }

        for (var i = start; i < end; i++)
        {
            var from = (long)(x + (i * a.Stride)) * a.SourceWidth / a.Width;
            default(TLeaf).Widen(a.Arena, line + (from * a.SourcePitch), 0, scratch, target + (i * Tile.SourcePitch), 0, 1, count);
        }
    }

    /// <summary>
    /// Pixels start … end of a run that begins at column <paramref name="x"/>, all of them beyond the edges of a circular source.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void WidenWrapped(
        GemmArguments<T> a, long line, int x, int start, int end, int count, ArrayView<float> scratch, int target)
    {
        for (var i = start; i < end; i++)
        {
            var from = (long)GemmArguments<T>.Wrap(x + (i * a.Stride), a.Width) * a.SourceWidth / a.Width;
            default(TLeaf).Widen(a.Arena, line + (from * a.SourcePitch), 0, scratch, target + (i * Tile.SourcePitch), 0, 1, count);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Finish(GemmArguments<T> a, int firstRow, int rows, int firstPanel, int panels, ArrayView<float> scratch, int sums)
    {
        var column = firstPanel * a.PanelColumns;
        var count = IntrinsicMath.Min(panels * a.PanelColumns, a.Columns - column);
        for (var r = 0; r < rows; r++)
        {
            var row = firstRow + r;
            default(TLeaf).Finish(
                a.Epilogue, scratch, sums + (r * panels * Tile.Columns), a.Bias, firstPanel * Tile.Columns,
                a.Arena, a.ItemBias + ((long)(row / a.OutputPixels) * a.ItemBiasPitch) + column,
                a.Arena, a.Residual + ((long)row * a.ResidualPitch) + column,
                a.Arena, a.Target + ((long)row * a.TargetPitch) + column, count);
        }
    }
}
