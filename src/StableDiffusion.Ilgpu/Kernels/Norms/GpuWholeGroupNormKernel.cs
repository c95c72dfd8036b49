using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Norms;

/// <summary>
/// Group norm in one launch, where an item's channels of a group are so few that one group of work-items is soon through with them: what small launches
/// take is not what they do. A group of work-items has whole groups of channels, in chunks of eight, and passes over them three times: for the means, for
/// the squares of what is left, and to normalise them. The first eight rows of each work-item stay in registers, the others it reads anew, the second and
/// third time from the nearest cache.
/// </summary>
internal static class GpuWholeGroupNormKernel<T, TFormat>
    where T : unmanaged
    where TFormat : struct, IGpuFormat<T>
{
    /// <summary>Work-items of a group that any GPU can run.</summary>
    private const int WorkItems = 256;

    /// <summary>
    /// Of those that have the registers for it: half the rows for each work-item, and twice the warps to hide each other's waiting, where there are too few
    /// groups for all multiprocessors.
    /// </summary>
    private const int WideWorkItems = 512;

    /// <summary>Rows of a work-item that are read at once.</summary>
    private const int Together = 4;

    private const int MostColumns = 128;

    /// <summary>
    /// Of an item, for one group of work-items: 32x32 pixels of 40 channels are 80 KiB of fp16. For 2 x 1024 x 640 values groups of 256 took 14 to 16 us on an
    /// H200, where moments and normalisation take about 5 and 6; what they executed, some 5100 instructions a warp at a third of one a cycle, wide groups should
    /// be through with in 9 to 10 (predicted, not measured).
    /// </summary>
    private const int MostValues = 48 * 1024;

    /// <summary>Of channels: eight of any width are whole chunks.</summary>
    private const int MostGroups = Float8.Length;

    /// <summary>
    /// Depends on the size of one item alone, so that an item's bits do not depend on its batch. Groups have a chunk's eight channels at least, so that a chunk has
    /// channels of two groups at most.
    /// </summary>
    public static bool Fits(GroupNormArguments<T> a) =>
        a.IsChunked && a.Channels / a.Groups >= Float8.Length && Columns(a) <= MostColumns && a.Channels % Columns(a) == 0 && (long)a.Rows * Columns(a) <= MostValues;

    /// <summary>One group for each item and its columns.</summary>
    public static KernelConfig Shape(GroupNormArguments<T> a) => new(Groups(a), WorkItems);

    /// <summary>The same number of groups, with twice the work-items.</summary>
    public static KernelConfig WideShape(GroupNormArguments<T> a) => new(Groups(a), WideWorkItems);

    /// <summary>For launches of <see cref="WideShape"/>: registers are shared out for so many.</summary>
    public static KernelSpecialization Wide => new(WideWorkItems, 1);

    public static void Run(GroupNormArguments<T> a)
    {
        var shared = SharedMemory.Allocate<float>(WideWorkItems);
        var halves = SharedMemory.Allocate<float>(2 * WideWorkItems);
        var firstGroups = SharedMemory.Allocate<int>(WideWorkItems);
        var means = SharedMemory.Allocate<float>(MostGroups);
        var factors = SharedMemory.Allocate<float>(MostGroups);
        var weightVectors = SharedMemory.Allocate<Float4>(MostColumns / 4);
        var biasVectors = SharedMemory.Allocate<Float4>(MostColumns / 4);
        var (weights, biases) = (weightVectors.Cast<float>(), biasVectors.Cast<float>());
        var (width, columns) = (a.Channels / a.Groups, Columns(a));
        var (blocks, chunks, groups) = (a.Channels / columns, columns / Float8.Length, columns / width);
        var item = Grid.IdxX / blocks;
        var firstColumn = (Grid.IdxX - (item * blocks)) * columns;

        // Work-items beyond the last whole row have no rows, and take part in the sums only.
        var firstRow = Group.IdxX / chunks;
        var column = (Group.IdxX - (firstRow * chunks)) * Float8.Length;
        var step = Group.DimX / chunks;
        var end = firstRow < step ? a.Rows : 0;
        var source = a.Source + ((long)item * a.Rows * a.SourcePitch) + firstColumn + column;
        var target = a.Target + ((long)item * a.Rows * a.TargetPitch) + firstColumn + column;

        // All of it is on its way at once. The later four rows, where no work-item has them, are the last row again, and not computed with.
        var laterRow = firstRow + (Together * step);
        var otherRow = laterRow + (Together * step);
        var hasLater = a.Rows > Together * step;
        var held = Load(a, source, firstRow, step);
        var later = Load(a, source, laterRow, step);

        // In shared memory until they are needed, for registers are full of rows.
        if (Group.IdxX < columns)
        {
            weights[Group.IdxX] = a.Weights[firstColumn + Group.IdxX];
            biases[Group.IdxX] = a.Biases[firstColumn + Group.IdxX];
        }

        // The chunk's channels before the split are this group's, the others the next one's.
        var group = column / width;
        var next = IntrinsicMath.Min(group + 1, groups - 1);
        var split = ((group + 1) * width) - column;
        firstGroups[Group.IdxX] = group;

        var sums = Add(default, held, firstRow, step, end);
        if (hasLater)
        {
            sums = Add(sums, later, laterRow, step, end);
        }

        for (var row = otherRow; row < end; row += Together * step)
        {
            sums = Add(sums, Load(a, source, row, step), row, step, end);
        }

        var sum = SumOfGroup(shared, halves, firstGroups, groups, split, sums);
        var count = (float)a.Rows * width;
        if (Group.IdxX < groups)
        {
            means[Group.IdxX] = sum / count;
        }

        Group.Barrier();
        var mean = Choose(split, means[group], means[next]);
        var squares = AddSquares(default, held, mean, firstRow, step, end);
        if (hasLater)
        {
            squares = AddSquares(squares, later, mean, laterRow, step, end);
        }

        for (var row = otherRow; row < end; row += Together * step)
        {
            squares = AddSquares(squares, Load(a, source, row, step), mean, row, step, end);
        }

        sum = SumOfGroup(shared, halves, firstGroups, groups, split, squares);
        if (Group.IdxX < groups)
        {
            factors[Group.IdxX] = 1f / MathF.Sqrt((sum / count) + a.Epsilon);
        }

        Group.Barrier();
        var weight = new Float8 { Low = weightVectors[column / 4], High = weightVectors[(column / 4) + 1] };
        var bias = new Float8 { Low = biasVectors[column / 4], High = biasVectors[(column / 4) + 1] };
        var factor = Float8.Multiply(Choose(split, factors[group], factors[next]), weight);
        Store(a, target, held, mean, factor, bias, firstRow, step, end);
        if (hasLater)
        {
            Store(a, target, later, mean, factor, bias, laterRow, step, end);
        }

        for (var row = otherRow; row < end; row += Together * step)
        {
            Store(a, target, Load(a, source, row, step), mean, factor, bias, row, step, end);
        }
    }

    private static int Groups(GroupNormArguments<T> a) => a.Items * (a.Channels / Columns(a));

    /// <summary>Rows that are on their way at once.</summary>
    private static Float4x8 Load(GroupNormArguments<T> a, long source, int row, int step) => new()
    {
        Row0 = GpuGroupNormKernels<T, TFormat>.LoadRow(a, source, row, a.Rows),
        Row1 = GpuGroupNormKernels<T, TFormat>.LoadRow(a, source, row + step, a.Rows),
        Row2 = GpuGroupNormKernels<T, TFormat>.LoadRow(a, source, row + (2 * step), a.Rows),
        Row3 = GpuGroupNormKernels<T, TFormat>.LoadRow(a, source, row + (3 * step), a.Rows),
    };

    private static Float8 Add(Float8 sums, Float4x8 rows, int row, int step, int end)
    {
        sums = GpuGroupNormKernels<T, TFormat>.AddRow(sums, rows.Row0, row, end);
        sums = GpuGroupNormKernels<T, TFormat>.AddRow(sums, rows.Row1, row + step, end);
        sums = GpuGroupNormKernels<T, TFormat>.AddRow(sums, rows.Row2, row + (2 * step), end);
        return GpuGroupNormKernels<T, TFormat>.AddRow(sums, rows.Row3, row + (3 * step), end);
    }

    private static Float8 AddSquares(Float8 squares, Float4x8 rows, Float8 mean, int row, int step, int end)
    {
        squares = GpuGroupNormKernels<T, TFormat>.AddSquares(squares, rows.Row0, mean, row, end);
        squares = GpuGroupNormKernels<T, TFormat>.AddSquares(squares, rows.Row1, mean, row + step, end);
        squares = GpuGroupNormKernels<T, TFormat>.AddSquares(squares, rows.Row2, mean, row + (2 * step), end);
        return GpuGroupNormKernels<T, TFormat>.AddSquares(squares, rows.Row3, mean, row + (3 * step), end);
    }

    private static void Store(
        GroupNormArguments<T> a, long target, Float4x8 rows, Float8 mean, Float8 factor, Float8 bias, int row, int step, int end)
    {
        GpuGroupNormKernels<T, TFormat>.StoreRow(a, target, row, end, rows.Row0, mean, factor, bias);
        GpuGroupNormKernels<T, TFormat>.StoreRow(a, target, row + step, end, rows.Row1, mean, factor, bias);
        GpuGroupNormKernels<T, TFormat>.StoreRow(a, target, row + (2 * step), end, rows.Row2, mean, factor, bias);
        GpuGroupNormKernels<T, TFormat>.StoreRow(a, target, row + (3 * step), end, rows.Row3, mean, factor, bias);
    }

    /// <summary>The sum over the channels of the group that the work-item takes part in by <see cref="GroupReduction.Share"/>.</summary>
    private static float SumOfGroup(
        ArrayView<float> shared, ArrayView<float> halves, ArrayView<int> firstGroups, int groups, int split, Float8 values)
    {
        halves[2 * Group.IdxX] = Float8.Multiply(values, Choose(split, 1f, 0f)).Sum;
        halves[(2 * Group.IdxX) + 1] = Float8.Multiply(values, Choose(split, 0f, 1f)).Sum;
        Group.Barrier();
        var (lanes, step) = GroupReduction.Share(Group.DimX, groups);
        var lane = Group.IdxX & (lanes - 1);
        var sum = 0f;
        for (var other = Group.IdxX / lanes; other < Group.DimX; other += step)
        {
            var group = firstGroups[other];
            sum += (group == lane ? halves[2 * other] : 0f) + (group + 1 == lane ? halves[(2 * other) + 1] : 0f);
        }

        return GroupReduction.SumOfColumn(shared, Group.DimX, lanes, Group.IdxX, sum);
    }

    /// <summary>One value before the split, another from there on.</summary>
    private static Float8 Choose(int split, float first, float second) => new()
    {
        Low = new Float4 { X = first, Y = split > 1 ? first : second, Z = split > 2 ? first : second, W = split > 3 ? first : second },
        High = new Float4
        {
            X = split > 4 ? first : second,
            Y = split > 5 ? first : second,
            Z = split > 6 ? first : second,
            W = split > 7 ? first : second,
        },
    };

    /// <summary>The fewest channels that are whole groups and whole chunks.</summary>
    private static int Columns(GroupNormArguments<T> a)
    {
        var columns = a.Channels / a.Groups;
        while (columns % Float8.Length != 0)
        {
            columns *= 2;
        }

        return columns;
    }
}
