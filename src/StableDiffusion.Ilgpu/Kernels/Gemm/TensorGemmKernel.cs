using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>
/// A contraction on tensor cores: a group multiplies one tile, of the whole depth or of one split of it (<see cref="TensorMultiply{TTile, TLoop}"/>), then
/// finishes its sums from shared memory, some rows or all at a time (<see cref="TensorPass{TTile, TLoop, TEnd}"/>).
/// </summary>
internal static class TensorGemmKernel<TTile, TLoop, TEnd>
    where TTile : struct, ITensorTile
    where TLoop : struct, ITensorLoop
    where TEnd : struct, ITensorEnd
{
    private const int MostRows = 128;

    /// <summary>Groups: the tile's rows, its panels, and the split.</summary>
    public static KernelConfig Shape(TensorGemmArguments t) => new(
        new Index3D(t.Gemm.RowTiles, t.Gemm.Tiles / t.Gemm.RowTiles, t.Splits), new Index3D(default(TLoop).Threads, 1, 1),
        SharedMemoryConfig.RequestDynamic<Float4>(SharedBytes / 16));

    public static int SharedBytes => TensorTileShape.Of<TTile>().SharedBytes(default(TLoop));

    private static int PassRows => default(TLoop).PassRows(TensorTileShape.Of<TTile>());

    public static void Run(TensorGemmArguments t)
    {
        var a = t.Gemm;
        var tile = default(TTile);
        var shared = SharedMemory.GetDynamic<Float4>();
        var rows = SharedMemory.Allocate<TensorWindow>(MostRows);
        var firstRow = Grid.IdxX * tile.Rows;
        var firstPanel = Grid.IdxY * tile.Panels;
        if (t.IsPointwise == 0)
        {
            for (var row = Group.IdxX; row < tile.Rows; row += default(TLoop).Threads)
            {
                rows[row] = FindWindow(t, firstRow + row);
            }

            Group.Barrier();
        }

        var sums = (uint)PtxCode.AddressOf(ref shared[0]);
        var firstBlock = Grid.IdxZ * t.SplitBlocks;
        TensorMultiply<TTile, TLoop>.Begin(
            0, PtxCode.AddressOf(ref a.Arena[a.Source]), PtxCode.AddressOf(ref a.Weights[(long)firstPanel * a.Depth * Tile.Columns]), a.SourcePitch / 8,
            a.Depth * Tile.Columns * sizeof(ushort), a.Panels - firstPanel, a.Channels, a.Kernel, t.PositionOf(firstBlock),
            IntrinsicMath.Min(t.SplitBlocks, t.Blocks - firstBlock));
        TensorMultiply<TTile, TLoop>.Start(
            0, t.IsPointwise == 0 ? a.Height : firstRow, a.Width, t.IsPointwise == 0 ? a.SourceWidth : 0, t.HeightRatio, t.WidthRatio, a.Circular,
            TensorTileShape.Align(sums, default(TLoop).StageAlignment), (uint)PtxCode.AddressOf(ref rows[0]), a.Rows);

        // While the first copies are on their way. A group that is alone on its multiprocessor has registers for what its end reads; others' sums and copies leave
        // them none.
        var isAlone = default(TLoop).GroupsPerMultiprocessor(TensorTileShape.Of<TTile>()) == 1;
        TensorPass<TTile, TLoop, TEnd> early = default;
        if (isAlone)
        {
            early = new TensorPass<TTile, TLoop, TEnd>(t, firstRow, firstPanel);
        }

        TensorMultiply<TTile, TLoop>.Run(0);
        if (PassRows == tile.Rows)
        {
            // Without a loop, the registers of the sums are free from here on.
            var end = early;
            if (!isAlone)
            {
                end = new TensorPass<TTile, TLoop, TEnd>(t, firstRow, firstPanel);
            }

            Group.Barrier();
            TensorMultiply<TTile, TLoop>.StoreSums(0, 0, sums);
            Group.Barrier();
            end.Finish(t, shared, firstRow, firstPanel);
            return;
        }

        for (var pass = 0; pass < tile.Rows / PassRows; pass++)
        {
            var passRow = firstRow + (pass * PassRows);
            Group.Barrier();
            TensorMultiply<TTile, TLoop>.StoreSums(0, pass, sums);
            var end = new TensorPass<TTile, TLoop, TEnd>(t, passRow, firstPanel);
            Group.Barrier();
            end.Finish(t, shared, passRow, firstPanel);
        }
    }

    private static TensorWindow FindWindow(TensorGemmArguments t, int row)
    {
        var a = t.Gemm;
        var item = t.OutputPixels.Divide(row);
        var pixel = row - (item * a.OutputPixels);
        var line = t.OutputWidth.Divide(pixel);
        var y = (line * a.Stride) - a.PadTop;
        var x = ((pixel - (line * a.OutputWidth)) * a.Stride) - a.PadLeft;
        return new TensorWindow { FirstPixel = row < a.Rows ? item * a.SourceHeight * a.SourceWidth : -1, Origin = (x << 16) | (y & 0xFFFF) };
    }
}
