using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>
/// The end of a tile: sums of some rows in shared memory are finished and stored, or stored as a split's as they are. A thread keeps to eight columns, whose
/// bias it reads once, and takes some rows at a time, whose residuals it reads a round ahead, the first before the barrier behind which sums are
/// read: nothing else hides what memory takes.
/// </summary>
internal readonly struct TensorPass<TTile, TLoop, TEnd>
    where TTile : struct, ITensorTile
    where TLoop : struct, ITensorLoop
    where TEnd : struct, ITensorEnd
{
    /// <summary>The thread's first row, of the pass'.</summary>
    private readonly int row;

    /// <summary>Behind its last row, of the pass'; 0 where it has none.</summary>
    private readonly int end;

    /// <summary>The first of its columns, of the tile's sums.</summary>
    private readonly int packed;

    private readonly TensorColumns<TEnd> columns;

    private readonly TensorResiduals first;

    /// <summary>Reads what the first rows need besides their sums.</summary>
    /// <param name="t">The contraction.</param>
    /// <param name="firstRow">Output pixel of the pass' first row.</param>
    /// <param name="firstPanel">The tile's.</param>
    public TensorPass(TensorGemmArguments t, int firstRow, int firstPanel)
    {
        row = 0;
        end = 0;
        packed = 0;
        columns = default;
        first = default;
        if (!default(TEnd).IsSplit)
        {
            var geglu = TensorColumns<TEnd>.IsGeglu(t);
            var chunks = ChunksOf(t);
            row = Group.IdxX / chunks;
            packed = TensorColumns<TEnd>.PackedColumn(geglu, Group.IdxX - (row * chunks));
            columns = new TensorColumns<TEnd>(t, (firstPanel * Tile.Columns) + packed);

            // Threads beyond the last whole row have none.
            end = row < default(TLoop).Threads / chunks && columns.Count > 0 ? IntrinsicMath.Min(PassRows, t.Gemm.Rows - firstRow) : 0;
            if (row < end)
            {
                first = Read(t, columns, firstRow, row, default(TLoop).Threads / chunks, end);
            }
        }
    }

    /// <param name="t">The contraction.</param>
    /// <param name="sums">Sums of the pass' rows.</param>
    /// <param name="firstRow">Output pixel of the first row.</param>
    /// <param name="firstPanel">The tile's.</param>
    public void Finish(TensorGemmArguments t, ArrayView<Float4> sums, int firstRow, int firstPanel)
    {
        if (default(TEnd).IsSplit)
        {
            StoreSplit(t, sums, firstRow, firstPanel);
            return;
        }

        var geglu = TensorColumns<TEnd>.IsGeglu(t);
        var step = default(TLoop).Threads / ChunksOf(t);
        var next = first;
        for (var at = row; at < end; at += Together * step)
        {
            var residuals = next;
            if (at + (Together * step) < end)
            {
                next = Read(t, columns, firstRow, at + (Together * step), step, end);
            }

            var (second, third, fourth) = (at + step, at + (2 * step), at + (3 * step));
            Store(t, sums, columns, packed, geglu, firstRow, at, residuals.Row0);
            if (Together >= 2 && second < end)
            {
                Store(t, sums, columns, packed, geglu, firstRow, second, residuals.Row1);
            }

            if (Together == 4 && third < end)
            {
                Store(t, sums, columns, packed, geglu, firstRow, third, residuals.Row2);
            }

            if (Together == 4 && fourth < end)
            {
                Store(t, sums, columns, packed, geglu, firstRow, fourth, residuals.Row3);
            }
        }
    }

    /// <summary>Chunks of eight columns that are stored of the tile's row.</summary>
    private static int ChunksOf(TensorGemmArguments t) => TensorColumns<TEnd>.IsGeglu(t) ? default(TTile).Panels * 2 : Chunks;

    /// <summary>A round's residuals. Rows that are not there are read like the last one, and not stored.</summary>
    private static TensorResiduals Read(TensorGemmArguments t, TensorColumns<TEnd> columns, int firstRow, int at, int step, int end)
    {
        var last = end - 1;
        var residuals = new TensorResiduals
        {
            Row0 = columns.ReadResidual(t, firstRow + at),
        };
        if (Together >= 2)
        {
            residuals.Row1 = columns.ReadResidual(t, firstRow + IntrinsicMath.Min(at + step, last));
        }

        if (Together == 4)
        {
            residuals.Row2 = columns.ReadResidual(t, firstRow + IntrinsicMath.Min(at + (2 * step), last));
            residuals.Row3 = columns.ReadResidual(t, firstRow + IntrinsicMath.Min(at + (3 * step), last));
        }

        return residuals;
    }

    /// <summary>Rows that a thread has on the way at a time: two or four, or one.</summary>
    private static int Together => default(TEnd).IsLong ? 1 : default(TLoop).RowsTogether(TensorTileShape.Of<TTile>());

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

/// <summary>Residuals of the rows that a thread has on the way at a time.</summary>
internal struct TensorResiduals
{
    public HalfChunk Row0;

    public HalfChunk Row1;

    public HalfChunk Row2;

    public HalfChunk Row3;
}
