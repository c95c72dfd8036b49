using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>
/// The end of a tile: sums of 64 rows in shared memory are finished and stored, or stored as a split's as they are. A thread keeps to eight columns, whose
/// bias it reads once, and takes some rows at a time, whose residuals it reads before it needs the first: nothing else hides what memory takes.
/// </summary>
internal static class TensorPass<TTile, TLoop>
    where TTile : struct, ITensorTile
    where TLoop : struct, ITensorLoop
{
    /// <param name="t">The contraction.</param>
    /// <param name="sums">Sums of 64 rows.</param>
    /// <param name="firstRow">Output pixel of the first row.</param>
    /// <param name="firstPanel">The tile's.</param>
    /// <param name="split">Which part of the depth was summed.</param>
    public static void Finish(TensorGemmArguments t, ArrayView<Float4> sums, int firstRow, int firstPanel, int split)
    {
        if (t.Splits > 1)
        {
            StoreSplit(t, sums, firstRow, firstPanel, split);
        }
        else
        {
            // With GEGLU 16 of a panel's 32 columns are gates. One call for both: ILGPU would compile all of the end twice.
            var geglu = t.Gemm.Epilogue.Geglu != 0;
            var chunks = geglu ? default(TTile).Panels * 2 : Chunks;
            var chunk = Group.IdxX % chunks;
            FinishColumns(t, sums, firstRow, firstPanel, geglu ? (chunk / 2 * Tile.Columns) + (chunk % 2 * 8) : chunk * 8, chunks);
        }
    }

    /// <summary>Rows that a thread has on the way at a time: two or four.</summary>
    private static int Together => default(TLoop).RowsTogether;

    /// <summary>Of eight columns each.</summary>
    private static int Chunks => TensorTileShape.Of<TTile>().Columns / 8;

    /// <summary>Vectors of four from one row of sums to the next.</summary>
    private static int Pitch => TensorTileShape.Of<TTile>().SumsPitch / 4;

    private static void StoreSplit(TensorGemmArguments t, ArrayView<Float4> sums, int firstRow, int firstPanel, int split)
    {
        var target = t.Partial.Cast<Float4>();
        var rows = IntrinsicMath.Min(TensorTileShape.PassRows, t.Gemm.Rows - firstRow);
        var packed = Group.IdxX % Chunks * 8;
        var column = (firstPanel * Tile.Columns) + packed;
        var end = column < t.PackedColumns ? rows : 0;
        var to = (((((long)split * t.Gemm.Rows) + firstRow) * t.PackedColumns) + column) / 4;
        for (var row = FirstRow(Chunks); row < end; row += TensorTileShape.Threads / Chunks)
        {
            var (at, target4) = ((row * Pitch) + (packed / 4), to + ((long)row * t.PackedColumns / 4));
            (target[target4], target[target4 + 1]) = (sums[at], sums[at + 1]);
        }
    }

    private static void FinishColumns(TensorGemmArguments t, ArrayView<Float4> sums, int firstRow, int firstPanel, int packed, int chunks)
    {
        var columns = new TensorColumns(t, (firstPanel * Tile.Columns) + packed);
        var end = columns.Count > 0 ? IntrinsicMath.Min(TensorTileShape.PassRows, t.Gemm.Rows - firstRow) : 0;
        var step = TensorTileShape.Threads / chunks;
        for (var first = FirstRow(chunks); first < end; first += Together * step)
        {
            var residual0 = columns.ReadResidual(t, firstRow + first);
            var residual1 = columns.ReadResidual(t, firstRow + IntrinsicMath.Min(first + step, end - 1));
            var (residual2, residual3) = (residual1, residual1);
            if (Together == 4)
            {
                residual2 = columns.ReadResidual(t, firstRow + IntrinsicMath.Min(first + (2 * step), end - 1));
                residual3 = columns.ReadResidual(t, firstRow + IntrinsicMath.Min(first + (3 * step), end - 1));
            }

            for (var i = 0; i < Together; i++)
            {
                var row = first + (i * step);
                if (row >= end)
                {
                    break;
                }

                var at = (row * Pitch) + (packed / 4);
                var values = new Float8 { Low = sums[at], High = sums[at + 1] };
                var gates = values;
                if (t.Gemm.Epilogue.Geglu != 0)
                {
                    gates = new Float8 { Low = sums[at + 4], High = sums[at + 5] };
                }

                columns.Store(t, values, gates, residual0, firstRow + row);
                (residual0, residual1, residual2) = (residual1, residual2, residual3);
            }
        }
    }

    /// <summary>Threads beyond the last whole row have none.</summary>
    private static int FirstRow(int chunks)
    {
        var row = Group.IdxX / chunks;
        return row < TensorTileShape.Threads / chunks ? row : TensorTileShape.PassRows;
    }
}
