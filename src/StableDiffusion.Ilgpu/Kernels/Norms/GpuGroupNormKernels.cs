using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Pointwise;

namespace StableDiffusion.Ilgpu.Kernels.Norms;

/// <summary>
/// Group norm for devices whose groups have many work-items, in the same launches, with the same moments between them. A work-item moves eight
/// neighbouring values at a time where all rows are aligned.
/// </summary>
internal static class GpuGroupNormKernels<T, TFormat>
    where T : unmanaged
    where TFormat : struct, IGpuFormat<T>
{
    private const int WorkItems = 256;

    /// <summary>Columns whose moments a group takes: neighbours in memory.</summary>
    private const int MomentColumns = 32;

    /// <summary>Rows that a group reads at a time, in chunks; a part has eight times as many.</summary>
    private const int MomentRows = WorkItems / (MomentColumns / Float8.Length);

    /// <summary>Columns whose parts a group merges.</summary>
    private const int MergeColumns = 8;

    /// <summary>Columns that a group normalises: 128 bytes of fp16.</summary>
    private const int TileColumns = 64;

    /// <summary>Rows that a group normalises: two chunks for each work-item.</summary>
    private const int TileRows = 2 * ChunkRows;

    private const int ChunkRows = WorkItems / (TileColumns / Float8.Length);

    /// <summary>One group for each item, part of its rows and 32 columns.</summary>
    public static KernelConfig MomentsShape(GroupNormArguments<T> a) => new(a.Items * a.Parts * Blocks(a.Channels, MomentColumns), WorkItems);

    /// <summary>One group for each item and 8 columns.</summary>
    public static KernelConfig MergeShape(GroupNormArguments<T> a) => new(a.Items * Blocks(a.Channels, MergeColumns), WorkItems);

    /// <summary>One group for each item, 64 of its rows and 64 columns.</summary>
    public static KernelConfig NormalizeShape(GroupNormArguments<T> a) =>
        new(a.Items * Blocks(a.Rows, TileRows) * Blocks(a.Channels, TileColumns), WorkItems);

    /// <summary>Means first, then squares of what is left, so that nothing cancels.</summary>
    public static void Moments(GroupNormArguments<T> a)
    {
        var shared = SharedMemory.Allocate<Float4>(2 * WorkItems);
        var firstColumn = Grid.IdxX % Blocks(a.Channels, MomentColumns) * MomentColumns;
        var part = Grid.IdxX / Blocks(a.Channels, MomentColumns) % a.Parts;
        var item = Grid.IdxX / Blocks(a.Channels, MomentColumns) / a.Parts;
        if (a.IsChunked)
        {
            ChunkMoments(a, item, part, firstColumn, shared);
        }
        else
        {
            ValueMoments(a, item, part, firstColumn, shared.Cast<float>());
        }
    }

    /// <summary>Merges all parts of an item into its first one.</summary>
    public static void Merge(GroupNormArguments<T> a)
    {
        const int Step = WorkItems / MergeColumns;
        var shared = SharedMemory.Allocate<float>(WorkItems);
        var column = (Grid.IdxX % Blocks(a.Channels, MergeColumns) * MergeColumns) + (Group.IdxX % MergeColumns);
        var item = Grid.IdxX / Blocks(a.Channels, MergeColumns);
        var end = column < a.Channels ? a.Parts : 0;
        var mean = 0f;
        for (var part = Group.IdxX / MergeColumns; part < end; part += Step)
        {
            mean += a.Moments[a.MomentOffset(item, part) + column] * ((float)a.RowsOfPart(part) / a.Rows);
        }

        mean = GroupReduction.SumOfColumn(shared, WorkItems, MergeColumns, mean);
        var deviation = 0f;
        for (var part = Group.IdxX / MergeColumns; part < end; part += Step)
        {
            var at = a.MomentOffset(item, part) + column;
            var d = a.Moments[at] - mean;
            deviation += a.Moments[at + a.Channels] + (d * d * a.RowsOfPart(part));
        }

        // All parts have been read when this returns.
        deviation = GroupReduction.SumOfColumn(shared, WorkItems, MergeColumns, deviation);
        if (Group.IdxX < MergeColumns && column < a.Channels)
        {
            var target = a.MomentOffset(item, 0) + column;
            a.Moments[target] = mean;
            a.Moments[target + a.Channels] = deviation;
        }
    }

    public static void Normalize(GroupNormArguments<T> a)
    {
        var shared = SharedMemory.Allocate<float>(WorkItems);
        var meanVectors = SharedMemory.Allocate<Float4>(TileColumns / 4);
        var factorVectors = SharedMemory.Allocate<Float4>(TileColumns / 4);
        var biasVectors = SharedMemory.Allocate<Float4>(TileColumns / 4);
        var (means, factors, biases) = (meanVectors.Cast<float>(), factorVectors.Cast<float>(), biasVectors.Cast<float>());
        var firstColumn = Grid.IdxX % Blocks(a.Channels, TileColumns) * TileColumns;
        var firstRow = Grid.IdxX / Blocks(a.Channels, TileColumns) % Blocks(a.Rows, TileRows) * TileRows;
        var item = Grid.IdxX / Blocks(a.Channels, TileColumns) / Blocks(a.Rows, TileRows);
        var columns = IntrinsicMath.Min(TileColumns, a.Channels - firstColumn);
        var rows = IntrinsicMath.Min(TileRows, a.Rows - firstRow);
        var source = a.Source + ((((long)item * a.Rows) + firstRow) * a.SourcePitch) + firstColumn;
        var target = a.Target + ((((long)item * a.Rows) + firstRow) * a.TargetPitch) + firstColumn;
        var column = Group.IdxX % (TileColumns / Float8.Length) * Float8.Length;
        var row = Group.IdxX / (TileColumns / Float8.Length);

        // What will be normalised is on its way while the moments are merged.
        Float8 upper = default, lower = default;
        if (a.IsChunked)
        {
            var from = source + IntrinsicMath.Min(column, columns - Float8.Length);
            upper = LoadRow(a, from, row, rows);
            lower = LoadRow(a, from, row + ChunkRows, rows);
        }

        PrepareColumns(a, item, firstColumn, columns, shared, means, factors, biases);
        if (a.IsChunked)
        {
            var mean = new Float8 { Low = meanVectors[column / 4], High = meanVectors[(column / 4) + 1] };
            var factor = new Float8 { Low = factorVectors[column / 4], High = factorVectors[(column / 4) + 1] };
            var bias = new Float8 { Low = biasVectors[column / 4], High = biasVectors[(column / 4) + 1] };
            if (column < columns && row < rows)
            {
                StoreRow(a, target + column, row, upper, mean, factor, bias);
            }

            if (column < columns && row + ChunkRows < rows)
            {
                StoreRow(a, target + column, row + ChunkRows, lower, mean, factor, bias);
            }
        }
        else
        {
            for (var i = Group.IdxX; i < rows * columns; i += WorkItems)
            {
                var (y, x) = (i / columns, i % columns);
                var value = default(TFormat).Load(a.Arena, source + ((long)y * a.SourcePitch) + x) - means[x];
                value = (value * factors[x]) + biases[x];
                default(TFormat).Store(a.Arena, target + ((long)y * a.TargetPitch) + x, a.Silu != 0 ? PointwiseMath.Silu(value) : value);
            }
        }
    }

    /// <summary>Each work-item has eight columns of up to eight rows in registers: memory is read once, and all of it at once.</summary>
    private static void ChunkMoments(GroupNormArguments<T> a, int item, int part, int firstColumn, ArrayView<Float4> shared)
    {
        const int Chunks = MomentColumns / Float8.Length;
        var rows = a.RowsOfPart(part);
        var row = Group.IdxX / Chunks;
        var column = firstColumn + (Group.IdxX % Chunks * Float8.Length);
        var first = a.Source + ((((long)item * a.Rows) + (part * GroupNormArguments<T>.PartRows)) * a.SourcePitch)
            + IntrinsicMath.Min(column, a.Channels - Float8.Length);
        var values0 = LoadRow(a, first, row, rows);
        var values1 = LoadRow(a, first, row + MomentRows, rows);
        var values2 = LoadRow(a, first, row + (2 * MomentRows), rows);
        var values3 = LoadRow(a, first, row + (3 * MomentRows), rows);
        var values4 = LoadRow(a, first, row + (4 * MomentRows), rows);
        var values5 = LoadRow(a, first, row + (5 * MomentRows), rows);
        var values6 = LoadRow(a, first, row + (6 * MomentRows), rows);
        var values7 = LoadRow(a, first, row + (7 * MomentRows), rows);

        var sums = AddRow(default, values0, row, rows);
        sums = AddRow(sums, values1, row + MomentRows, rows);
        sums = AddRow(sums, values2, row + (2 * MomentRows), rows);
        sums = AddRow(sums, values3, row + (3 * MomentRows), rows);
        sums = AddRow(sums, values4, row + (4 * MomentRows), rows);
        sums = AddRow(sums, values5, row + (5 * MomentRows), rows);
        sums = AddRow(sums, values6, row + (6 * MomentRows), rows);
        sums = AddRow(sums, values7, row + (7 * MomentRows), rows);
        var mean = Float8.Multiply(GroupReduction.SumOfChunk(shared, WorkItems, Chunks, sums), Float8.Fill(1f / rows));

        var squares = AddSquares(default, values0, mean, row, rows);
        squares = AddSquares(squares, values1, mean, row + MomentRows, rows);
        squares = AddSquares(squares, values2, mean, row + (2 * MomentRows), rows);
        squares = AddSquares(squares, values3, mean, row + (3 * MomentRows), rows);
        squares = AddSquares(squares, values4, mean, row + (4 * MomentRows), rows);
        squares = AddSquares(squares, values5, mean, row + (5 * MomentRows), rows);
        squares = AddSquares(squares, values6, mean, row + (6 * MomentRows), rows);
        squares = AddSquares(squares, values7, mean, row + (7 * MomentRows), rows);
        var deviation = GroupReduction.SumOfChunk(shared, WorkItems, Chunks, squares);
        if (row == 0 && column < a.Channels)
        {
            var target = a.MomentOffset(item, part) + column;
            default(FloatFormat).StoreChunk(a.Moments, target, mean);
            default(FloatFormat).StoreChunk(a.Moments, target + a.Channels, deviation);
        }
    }

    private static void ValueMoments(GroupNormArguments<T> a, int item, int part, int firstColumn, ArrayView<float> shared)
    {
        const int Step = WorkItems / MomentColumns;
        var rows = a.RowsOfPart(part);
        var column = firstColumn + (Group.IdxX % MomentColumns);
        var first = a.Source + ((((long)item * a.Rows) + (part * GroupNormArguments<T>.PartRows)) * a.SourcePitch) + column;

        // Work-items beyond the last column have no rows: they take part in the sums only.
        var end = column < a.Channels ? rows : 0;
        var sum = 0f;
        for (var row = Group.IdxX / MomentColumns; row < end; row += Step)
        {
            sum += default(TFormat).Load(a.Arena, first + ((long)row * a.SourcePitch));
        }

        var mean = GroupReduction.SumOfColumn(shared, WorkItems, MomentColumns, sum) / rows;
        var squares = 0f;
        for (var row = Group.IdxX / MomentColumns; row < end; row += Step)
        {
            var d = default(TFormat).Load(a.Arena, first + ((long)row * a.SourcePitch)) - mean;
            squares += d * d;
        }

        var deviation = GroupReduction.SumOfColumn(shared, WorkItems, MomentColumns, squares);
        if (Group.IdxX < MomentColumns && column < a.Channels)
        {
            var target = a.MomentOffset(item, part) + column;
            a.Moments[target] = mean;
            a.Moments[target + a.Channels] = deviation;
        }
    }

    /// <summary>Beyond the last row that one again: so no branch stands between a work-item's reads.</summary>
    private static Float8 LoadRow(GroupNormArguments<T> a, long first, int row, int rows) =>
        default(TFormat).LoadChunk(a.Arena, first + ((long)IntrinsicMath.Min(row, rows - 1) * a.SourcePitch));

    private static Float8 AddRow(Float8 sums, Float8 values, int row, int rows) => Float8.MultiplyAdd(sums, row < rows ? 1f : 0f, values);

    private static Float8 AddSquares(Float8 sums, Float8 values, Float8 mean, int row, int rows)
    {
        var d = Float8.Subtract(values, mean);
        return Float8.MultiplyAdd(sums, row < rows ? 1f : 0f, Float8.Multiply(d, d));
    }

    private static void StoreRow(GroupNormArguments<T> a, long target, int row, Float8 values, Float8 mean, Float8 factor, Float8 bias)
    {
        values = Float8.Add(Float8.Multiply(Float8.Subtract(values, mean), factor), bias);
        if (a.Silu != 0)
        {
            values = default(TFormat).Silu(values);
        }

        default(TFormat).StoreChunk(a.Arena, target + ((long)row * a.TargetPitch), values);
    }

    /// <summary>The mean of each column's group of channels, and the column's weight over the standard deviation, and its bias.</summary>
    private static void PrepareColumns(
        GroupNormArguments<T> a, int item, int firstColumn, int columns, ArrayView<float> shared, ArrayView<float> means, ArrayView<float> factors,
        ArrayView<float> biases)
    {
        var width = a.Channels / a.Groups;
        var firstGroup = firstColumn / width;
        var groups = ((firstColumn + columns - 1) / width) - firstGroup + 1;

        // Work-item i merges some columns of group i modulo a power of 2 that is no less than the groups.
        var lanes = 1;
        while (lanes < groups)
        {
            lanes *= 2;
        }

        var group = Group.IdxX % lanes;
        var firstOfGroup = (firstGroup + group) * width;
        var end = group < groups ? width : 0;
        var parts = a.NeedsMerge ? 1 : a.Parts;
        var sum = 0f;
        for (var part = 0; part < parts; part++)
        {
            var weight = parts == 1 ? 1f : (float)a.RowsOfPart(part) / a.Rows;
            for (var i = Group.IdxX / lanes; i < end; i += WorkItems / lanes)
            {
                sum += a.Moments[a.MomentOffset(item, part) + firstOfGroup + i] * weight;
            }
        }

        var mean = GroupReduction.SumOfColumn(shared, WorkItems, lanes, sum) / width;
        var deviation = 0f;
        for (var part = 0; part < parts; part++)
        {
            var rows = parts == 1 ? a.Rows : a.RowsOfPart(part);
            for (var i = Group.IdxX / lanes; i < end; i += WorkItems / lanes)
            {
                var at = a.MomentOffset(item, part) + firstOfGroup + i;
                var d = a.Moments[at] - mean;
                deviation += a.Moments[at + a.Channels] + (d * d * rows);
            }
        }

        deviation = GroupReduction.SumOfColumn(shared, WorkItems, lanes, deviation);

        // First what all columns of a group share, then what each column needs of it.
        if (Group.IdxX < lanes)
        {
            shared[group] = mean;
            shared[TileColumns + group] = 1f / MathF.Sqrt((deviation / ((float)a.Rows * width)) + a.Epsilon);
        }

        Group.Barrier();
        if (Group.IdxX < columns)
        {
            var column = firstColumn + Group.IdxX;
            group = (column / width) - firstGroup;
            means[Group.IdxX] = shared[group];
            factors[Group.IdxX] = shared[TileColumns + group] * a.Weights[column];
            biases[Group.IdxX] = a.Biases[column];
        }

        Group.Barrier();
    }

    private static int Blocks(int count, int size) => (count + size - 1) / size;
}
