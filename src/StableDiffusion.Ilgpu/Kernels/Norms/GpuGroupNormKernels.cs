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

    /// <summary>Columns whose parts a group merges: few, so that many groups read at once, of which each waits for memory most of the time.</summary>
    private const int MergeColumns = 4;

    /// <summary>Parts that a group merges at a time, one for each work-item of a column; a work-item reads eight such parts at once.</summary>
    private const int MergeStep = WorkItems / MergeColumns;

    /// <summary>Columns that a group normalises: 128 bytes of fp16.</summary>
    private const int TileColumns = 64;

    /// <summary>Rows that a group normalises at a time: two chunks for each work-item.</summary>
    private const int TileRows = 2 * ChunkRows;

    private const int ChunkRows = WorkItems / (TileColumns / Float8.Length);

    /// <summary>One group for each item, part of its rows and 32 columns.</summary>
    public static KernelConfig MomentsShape(GroupNormArguments<T> a) => new(a.Items * a.Parts * Blocks(a.Channels, MomentColumns), WorkItems);

    /// <summary>One group for each item and 4 columns.</summary>
    public static KernelConfig MergeShape(GroupNormArguments<T> a) => new(a.Items * Blocks(a.Channels, MergeColumns), WorkItems);

    /// <summary>Groups of the normalisation that a large GPU runs at once, three on each multiprocessor. No result depends on it.</summary>
    private const int NormalizeGroups = 384;

    /// <summary>
    /// For each item and 64 columns one group for each 64 rows, or as many as run at once: each merges the moments of its columns anew, so rather
    /// than more groups they have more rows, at equal distances.
    /// </summary>
    public static KernelConfig NormalizeShape(GroupNormArguments<T> a)
    {
        var strips = a.Items * Blocks(a.Channels, TileColumns);
        var tiles = Blocks(a.Rows, TileRows);
        var tilesOfGroup = Blocks(tiles, IntrinsicMath.Max(NormalizeGroups / strips, 1));
        return new(strips * Blocks(tiles, tilesOfGroup), WorkItems);
    }

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
        var shared = SharedMemory.Allocate<float>(WorkItems);
        var column = (Grid.IdxX % Blocks(a.Channels, MergeColumns) * MergeColumns) + (Group.IdxX % MergeColumns);
        var item = Grid.IdxX / Blocks(a.Channels, MergeColumns);
        var first = a.MomentOffset(item, 0) + column;
        var end = column < a.Channels ? a.Parts : 0;
        var mean = 0f;
        for (var part = Group.IdxX / MergeColumns; part < end; part += Float8.Length * MergeStep)
        {
            mean += Float8.Multiply(LoadParts(a, first, part), RowsOfParts(a, part)).Sum;
        }

        mean = GroupReduction.SumOfColumn(shared, WorkItems, MergeColumns, Group.IdxX, mean) / a.Rows;
        var deviation = 0f;
        for (var part = Group.IdxX / MergeColumns; part < end; part += Float8.Length * MergeStep)
        {
            var (means, deviations, rows) = (LoadParts(a, first, part), LoadParts(a, first + a.Channels, part), RowsOfParts(a, part));
            var d = Float8.Subtract(means, Float8.Fill(mean));
            deviation += Float8.Multiply(Float8.Multiply(d, d), rows).Sum + Float8.Multiply(deviations, Present(rows)).Sum;
        }

        // All parts have been read when this returns.
        deviation = GroupReduction.SumOfColumn(shared, WorkItems, MergeColumns, Group.IdxX, deviation);
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
        var strips = Blocks(a.Channels, TileColumns);
        var rest = Grid.IdxX / strips;
        var firstColumn = (Grid.IdxX - (rest * strips)) * TileColumns;
        var groups = Grid.DimX / strips / a.Items;
        var item = rest / groups;
        var firstRow = (rest - (item * groups)) * TileRows;
        var step = groups * TileRows;
        var columns = IntrinsicMath.Min(TileColumns, a.Channels - firstColumn);
        var source = a.Source + ((long)item * a.Rows * a.SourcePitch) + firstColumn;
        var target = a.Target + ((long)item * a.Rows * a.TargetPitch) + firstColumn;
        var (means, factors, biases) = (meanVectors.Cast<float>(), factorVectors.Cast<float>(), biasVectors.Cast<float>());
        if (a.IsChunked)
        {
            // What will be normalised is on its way while the moments are merged, and while what comes before it is normalised.
            var column = Group.IdxX % (TileColumns / Float8.Length) * Float8.Length;
            var row = firstRow + (Group.IdxX / (TileColumns / Float8.Length));
            var from = source + IntrinsicMath.Min(column, columns - Float8.Length);
            var upper = LoadRow(a, from, row, a.Rows);
            var lower = LoadRow(a, from, row + ChunkRows, a.Rows);
            PrepareColumns(a, item, firstColumn, columns, shared, means, factors, biases);
            var mean = new Float8 { Low = meanVectors[column / 4], High = meanVectors[(column / 4) + 1] };
            var factor = new Float8 { Low = factorVectors[column / 4], High = factorVectors[(column / 4) + 1] };
            var bias = new Float8 { Low = biasVectors[column / 4], High = biasVectors[(column / 4) + 1] };
            var end = column < columns ? a.Rows : 0;
            for (; firstRow < a.Rows; firstRow += step)
            {
                var (nextUpper, nextLower) = (upper, lower);
                if (firstRow + step < a.Rows)
                {
                    nextUpper = LoadRow(a, from, row + step, a.Rows);
                    nextLower = LoadRow(a, from, row + step + ChunkRows, a.Rows);
                }

                StoreRow(a, target + column, row, end, upper, mean, factor, bias);
                StoreRow(a, target + column, row + ChunkRows, end, lower, mean, factor, bias);
                (upper, lower) = (nextUpper, nextLower);
                row += step;
            }
        }
        else
        {
            PrepareColumns(a, item, firstColumn, columns, shared, means, factors, biases);
            for (; firstRow < a.Rows; firstRow += step)
            {
                var count = IntrinsicMath.Min(TileRows, a.Rows - firstRow) * columns;
                for (var i = Group.IdxX; i < count; i += WorkItems)
                {
                    var (y, x) = (firstRow + (i / columns), i % columns);
                    var value = default(TFormat).Load(a.Arena, source + ((long)y * a.SourcePitch) + x) - means[x];
                    value = (value * factors[x]) + biases[x];
                    default(TFormat).Store(a.Arena, target + ((long)y * a.TargetPitch) + x, a.Silu != 0 ? default(Activations<PreciseFunctions>.Silu).Of(value) : value);
                }
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

        var mean = GroupReduction.SumOfColumn(shared, WorkItems, MomentColumns, Group.IdxX, sum) / rows;
        var squares = 0f;
        for (var row = Group.IdxX / MomentColumns; row < end; row += Step)
        {
            var d = default(TFormat).Load(a.Arena, first + ((long)row * a.SourcePitch)) - mean;
            squares += d * d;
        }

        var deviation = GroupReduction.SumOfColumn(shared, WorkItems, MomentColumns, Group.IdxX, squares);
        if (Group.IdxX < MomentColumns && column < a.Channels)
        {
            var target = a.MomentOffset(item, part) + column;
            a.Moments[target] = mean;
            a.Moments[target + a.Channels] = deviation;
        }
    }

    /// <summary>Beyond the last row that one again: so no branch stands between a work-item's reads.</summary>
    internal static Float8 LoadRow(GroupNormArguments<T> a, long first, int row, int rows) =>
        default(TFormat).LoadChunk(a.Arena, first + ((long)IntrinsicMath.Min(row, rows - 1) * a.SourcePitch));

    internal static Float8 AddRow(Float8 sums, Float8 values, int row, int rows) => Float8.MultiplyAdd(sums, row < rows ? 1f : 0f, values);

    internal static Float8 AddSquares(Float8 sums, Float8 values, Float8 mean, int row, int rows)
    {
        var d = Float8.Subtract(values, mean);
        return Float8.MultiplyAdd(sums, row < rows ? 1f : 0f, Float8.Multiply(d, d));
    }

    internal static void StoreRow(
        GroupNormArguments<T> a, long target, int row, int end, Float8 values, Float8 mean, Float8 factor, Float8 bias)
    {
        if (row < end)
        {
            values = Float8.Add(Float8.Multiply(Float8.Subtract(values, mean), factor), bias);
            if (a.Silu != 0)
            {
                values = Activations<TFormat>.Of<Activations<TFormat>.Silu>(values);
            }

            default(TFormat).StoreChunk(a.Arena, target + ((long)row * a.TargetPitch), values);
        }
    }

    /// <summary>The mean of each column's group of channels, and the column's weight over the standard deviation, and its bias.</summary>
    private static void PrepareColumns(
        GroupNormArguments<T> a, int item, int firstColumn, int columns, ArrayView<float> shared, ArrayView<float> means, ArrayView<float> factors,
        ArrayView<float> biases)
    {
        var width = a.Channels / a.Groups;
        var firstGroup = firstColumn / width;
        var groups = ((firstColumn + columns - 1) / width) - firstGroup + 1;
        var (weight, bias) = (0f, 0f);
        if (Group.IdxX < columns)
        {
            weight = a.Weights[firstColumn + Group.IdxX];
            bias = a.Biases[firstColumn + Group.IdxX];
        }

        // Work-items merge some columns and parts of their group each.
        var (lanes, step) = GroupReduction.Share(WorkItems, groups);
        var group = Group.IdxX & (lanes - 1);
        var start = a.MomentOffset(item, 0) + ((firstGroup + group) * width);
        var end = group < groups ? width * (a.NeedsMerge ? 1 : a.Parts) : 0;
        var first = Group.IdxX / lanes;
        var firstMoments = LoadMoments(a, start, first, end, width);
        var sum = firstMoments.Mean * firstMoments.Rows;
        for (var i = first + step; i < end; i += step)
        {
            var moments = LoadMoments(a, start, i, end, width);
            sum += moments.Mean * moments.Rows;
        }

        var count = (float)a.Rows * width;
        var mean = GroupReduction.SumOfColumn(shared, WorkItems, lanes, Group.IdxX, sum) / count;
        var deviation = Deviation(firstMoments, mean);
        for (var i = first + step; i < end; i += step)
        {
            deviation += Deviation(LoadMoments(a, start, i, end, width), mean);
        }

        deviation = GroupReduction.SumOfColumn(shared, WorkItems, lanes, Group.IdxX, deviation);

        // First what all columns of a group share, then what each column needs of it.
        if (Group.IdxX < lanes)
        {
            shared[group] = mean;
            shared[TileColumns + group] = 1f / MathF.Sqrt((deviation / count) + a.Epsilon);
        }

        Group.Barrier();
        if (Group.IdxX < columns)
        {
            group = ((firstColumn + Group.IdxX) / width) - firstGroup;
            means[Group.IdxX] = shared[group];
            factors[Group.IdxX] = shared[TileColumns + group] * weight;
            biases[Group.IdxX] = bias;
        }

        Group.Barrier();
    }

    /// <summary>Those of a column and a part of the rows: part by part of a group of channels that starts at <paramref name="start"/>.</summary>
    private static PartMoments LoadMoments(GroupNormArguments<T> a, int start, int i, int end, int width)
    {
        // A division would take longer than all else here. What has been merged is one part.
        var part = (i >= width ? 1 : 0) + (i >= 2 * width ? 1 : 0) + (i >= 3 * width ? 1 : 0);
        var at = start + (part * 2 * a.Channels) + i - (part * width);
        return i >= end ? default : new PartMoments
        {
            Mean = a.Moments[at],
            Deviation = a.Moments[at + a.Channels],
            Rows = a.NeedsMerge ? a.Rows : a.RowsOfPart(part),
        };
    }

    /// <summary>What eight parts have at the same place. Beyond the last part that one again: so no branch stands between the reads.</summary>
    private static Float8 LoadParts(GroupNormArguments<T> a, int first, int part) => new()
    {
        Low = new Float4 { X = LoadPart(a, first, part, 0), Y = LoadPart(a, first, part, 1), Z = LoadPart(a, first, part, 2), W = LoadPart(a, first, part, 3) },
        High = new Float4 { X = LoadPart(a, first, part, 4), Y = LoadPart(a, first, part, 5), Z = LoadPart(a, first, part, 6), W = LoadPart(a, first, part, 7) },
    };

    private static float LoadPart(GroupNormArguments<T> a, int first, int part, int number) =>
        a.Moments[first + (IntrinsicMath.Min(part + (number * MergeStep), a.Parts - 1) * 2 * a.Channels)];

    /// <summary>None beyond the last part.</summary>
    private static Float8 RowsOfParts(GroupNormArguments<T> a, int part) => new()
    {
        Low = new Float4 { X = RowsOfPart(a, part, 0), Y = RowsOfPart(a, part, 1), Z = RowsOfPart(a, part, 2), W = RowsOfPart(a, part, 3) },
        High = new Float4 { X = RowsOfPart(a, part, 4), Y = RowsOfPart(a, part, 5), Z = RowsOfPart(a, part, 6), W = RowsOfPart(a, part, 7) },
    };

    private static float RowsOfPart(GroupNormArguments<T> a, int part, int number)
    {
        part += number * MergeStep;
        return part < a.Parts ? a.RowsOfPart(part) : 0;
    }

    /// <summary>1 for parts that have rows, 0 for others.</summary>
    private static Float8 Present(Float8 rows) => new()
    {
        Low = new Float4 { X = Present(rows.Low.X), Y = Present(rows.Low.Y), Z = Present(rows.Low.Z), W = Present(rows.Low.W) },
        High = new Float4 { X = Present(rows.High.X), Y = Present(rows.High.Y), Z = Present(rows.High.Z), W = Present(rows.High.W) },
    };

    private static float Present(float rows) => rows > 0f ? 1f : 0f;

    private static float Deviation(PartMoments moments, float mean)
    {
        var d = moments.Mean - mean;
        return moments.Deviation + (d * d * moments.Rows);
    }

    private static int Blocks(int count, int size) => (count + size - 1) / size;

    /// <summary>A column's in a part of the rows. Those of no rows change nothing.</summary>
    private struct PartMoments
    {
        public float Mean;
        public float Deviation;
        public float Rows;
    }
}
