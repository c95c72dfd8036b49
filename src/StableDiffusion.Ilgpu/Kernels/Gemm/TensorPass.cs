using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>
/// The end of a tile: sums of some rows in shared memory are finished and stored, or stored as a split's as they are. A thread keeps to eight columns, whose
/// bias it reads once, and takes some rows at a time, whose residuals it reads before it needs the first: nothing else hides what memory takes.
/// </summary>
internal static class TensorPass<TTile, TLoop, TEnd>
    where TTile : struct, ITensorTile
    where TLoop : struct, ITensorLoop
    where TEnd : struct, ITensorEnd
{
    /// <param name="t">The contraction.</param>
    /// <param name="sums">Sums of the pass' rows.</param>
    /// <param name="firstRow">Output pixel of the first row.</param>
    /// <param name="firstPanel">The tile's.</param>
    public static void Finish(TensorGemmArguments t, ArrayView<Float4> sums, int firstRow, int firstPanel)
    {
        if (default(TEnd).Kind == TensorEnd.Split)
        {
            StoreSplit(t, sums, firstRow, firstPanel);
            return;
        }

        var geglu = TensorColumns<TEnd>.IsGeglu(t);
        var chunks = geglu ? default(TTile).Panels * 2 : Chunks;
        var row = Group.IdxX / chunks;
        var chunk = Group.IdxX - (row * chunks);

        // Threads beyond the last whole row have none.
        var step = default(TLoop).Threads / chunks;
        var packed = TensorColumns<TEnd>.PackedColumn(geglu, chunk);
        var columns = new TensorColumns<TEnd>(t, (firstPanel * Tile.Columns) + packed);
        var end = row < step && columns.Count > 0 ? IntrinsicMath.Min(PassRows, t.Gemm.Rows - firstRow) : 0;
        for (var first = row; first < end; first += Together * step)
        {
            // Rows that are not there are read like the last one, and not stored.
            var (second, third, fourth) = (first + step, first + (2 * step), first + (3 * step));
            var last = end - 1;
            var residual0 = columns.ReadResidual(t, firstRow + first);
            var residual1 = columns.ReadResidual(t, firstRow + IntrinsicMath.Min(second, last));
            var (residual2, residual3) = (residual1, residual1);
            if (Together == 4)
            {
                residual2 = columns.ReadResidual(t, firstRow + IntrinsicMath.Min(third, last));
                residual3 = columns.ReadResidual(t, firstRow + IntrinsicMath.Min(fourth, last));
            }

            Store(t, sums, columns, packed, geglu, firstRow, first, residual0);
            if (second < end)
            {
                Store(t, sums, columns, packed, geglu, firstRow, second, residual1);
            }

            if (Together == 4 && third < end)
            {
                Store(t, sums, columns, packed, geglu, firstRow, third, residual2);
            }

            if (Together == 4 && fourth < end)
            {
                Store(t, sums, columns, packed, geglu, firstRow, fourth, residual3);
            }
        }
    }

    /// <summary>Rows that a thread has on the way at a time: two or four.</summary>
    private static int Together => default(TLoop).RowsTogether(TensorTileShape.Of<TTile>());

    private static int PassRows => default(TLoop).PassRows(TensorTileShape.Of<TTile>());

    /// <summary>Of eight columns each.</summary>
    private static int Chunks => TensorTileShape.Of<TTile>().Columns / 8;

    /// <summary>Vectors of four from one row of sums to the next.</summary>
    private static int Pitch => TensorTileShape.Of<TTile>().SumsPitch / 4;

    private static void Store(
        TensorGemmArguments t, ArrayView<Float4> sums, TensorColumns<TEnd> columns, int packed, bool geglu, int firstRow, int row, HalfChunk residual)
    {
        var at = (row * Pitch) + (packed / 4);
        var values = new Float8 { Low = sums[at], High = sums[at + 1] };
        var gates = values;
        if (geglu)
        {
            gates = new Float8 { Low = sums[at + 4], High = sums[at + 5] };
        }

        columns.Store(t, values, gates, residual, firstRow + row);
    }

    private static void StoreSplit(TensorGemmArguments t, ArrayView<Float4> sums, int firstRow, int firstPanel)
    {
        var target = t.Partial.Cast<Float4>();
        var first = Group.IdxX / Chunks;
        var packed = (Group.IdxX - (first * Chunks)) * 8;
        var column = (firstPanel * Tile.Columns) + packed;
        var step = default(TLoop).Threads / Chunks;
        var end = first < step && column < t.PackedColumns ? IntrinsicMath.Min(PassRows, t.Gemm.Rows - firstRow) : 0;
        var to = (((((long)Grid.IdxZ * t.Gemm.Rows) + firstRow) * t.PackedColumns) + column) / 4;
        for (var row = first; row < end; row += step)
        {
            var (at, target4) = ((row * Pitch) + (packed / 4), to + ((long)row * t.PackedColumns / 4));
            (target[target4], target[target4 + 1]) = (sums[at], sums[at + 1]);
        }
    }
}
