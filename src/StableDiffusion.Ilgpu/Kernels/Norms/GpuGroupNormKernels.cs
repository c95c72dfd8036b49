using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Pointwise;

namespace StableDiffusion.Ilgpu.Kernels.Norms;

/// <summary>Group norm for devices whose groups have many work-items, in the same launches, with the same moments between them.</summary>
internal static class GpuGroupNormKernels<T, TFormat>
    where T : unmanaged
    where TFormat : struct, IFormat<T>
{
    private const int WorkItems = 256;

    /// <summary>Columns whose moments a group takes: neighbours in memory.</summary>
    private const int MomentColumns = 32;

    /// <summary>Work-items that merge the moments of one group of channels together.</summary>
    private const int Mergers = 8;

    /// <summary>Fewest columns that a group normalises, if it needs several groups of channels for them.</summary>
    private const int FewestColumns = WorkItems / Mergers;

    /// <summary>Values that a group normalises, about: many beside the moments that it reads.</summary>
    private const int TileValues = 4096;

    /// <summary>One group for each item, part of its rows and 32 columns.</summary>
    public static KernelConfig MomentsShape(GroupNormArguments<T> a) => new(a.Items * a.Parts * ColumnBlocks(a), WorkItems);

    /// <summary>One work-item for each item and column.</summary>
    public static KernelConfig MergeShape(GroupNormArguments<T> a) => new(((a.Items * a.Channels) + WorkItems - 1) / WorkItems, WorkItems);

    /// <summary>One group for each item, some rows and some groups of channels.</summary>
    public static KernelConfig NormalizeShape(GroupNormArguments<T> a) => new(a.Items * RowTiles(a) * GroupTiles(a), WorkItems);

    /// <summary>Two passes over a part's rows, so that nothing cancels.</summary>
    public static void Moments(GroupNormArguments<T> a)
    {
        var shared = SharedMemory.Allocate<float>(WorkItems);
        var column = (Grid.IdxX % ColumnBlocks(a) * MomentColumns) + (Group.IdxX % MomentColumns);
        var part = Grid.IdxX / ColumnBlocks(a) % a.Parts;
        var item = Grid.IdxX / ColumnBlocks(a) / a.Parts;
        var first = a.Source + ((((long)item * a.Rows) + (part * GroupNormArguments<T>.PartRows)) * a.SourcePitch) + column;
        var rows = a.RowsOfPart(part);

        // Work-items beyond the last column have no rows: they take part in the sums only.
        var end = column < a.Channels ? rows : 0;
        var sum = 0f;
        for (var row = Group.IdxX / MomentColumns; row < end; row += WorkItems / MomentColumns)
        {
            sum += default(TFormat).Load(a.Arena, first + ((long)row * a.SourcePitch));
        }

        var mean = GroupReduction.SumOfColumn(shared, WorkItems, MomentColumns, sum) / rows;
        var squares = 0f;
        for (var row = Group.IdxX / MomentColumns; row < end; row += WorkItems / MomentColumns)
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

    /// <summary>Merges all parts of an item into its first one.</summary>
    public static void Merge(GroupNormArguments<T> a)
    {
        var i = (Grid.IdxX * WorkItems) + Group.IdxX;
        if (i < a.Items * a.Channels)
        {
            a.MergeColumn(i / a.Channels, i % a.Channels);
        }
    }

    public static void Normalize(GroupNormArguments<T> a)
    {
        var shared = SharedMemory.Allocate<float>(WorkItems);
        var means = SharedMemory.Allocate<float>(FewestColumns);
        var factors = SharedMemory.Allocate<float>(FewestColumns);
        var width = a.Channels / a.Groups;
        var firstGroup = Grid.IdxX % GroupTiles(a) * TileGroups(a);
        var groups = IntrinsicMath.Min(TileGroups(a), a.Groups - firstGroup);
        var firstRow = Grid.IdxX / GroupTiles(a) % RowTiles(a) * TileRows(a);
        var item = Grid.IdxX / GroupTiles(a) / RowTiles(a);
        MergeGroups(a, item, firstGroup, groups, shared, means, factors);

        var columns = groups * width;
        var values = IntrinsicMath.Min(TileRows(a), a.Rows - firstRow) * columns;
        for (var i = Group.IdxX; i < values; i += WorkItems)
        {
            var row = ((long)item * a.Rows) + firstRow + (i / columns);
            var column = (firstGroup * width) + (i % columns);
            var group = i % columns / width;
            var value = default(TFormat).Load(a.Arena, a.Source + (row * a.SourcePitch) + column) - means[group];
            value = (value * (factors[group] * a.Weights[column])) + a.Biases[column];
            default(TFormat).Store(a.Arena, a.Target + (row * a.TargetPitch) + column, a.Silu != 0 ? PointwiseMath.Silu(value) : value);
        }
    }

    /// <summary>Mean, and one over the standard deviation, of some groups of channels.</summary>
    private static void MergeGroups(
        GroupNormArguments<T> a, int item, int firstGroup, int groups, ArrayView<float> shared, ArrayView<float> means, ArrayView<float> factors)
    {
        // Work-item i merges every eighth column, from column i / 32 on, of group i modulo 32.
        var width = a.Channels / a.Groups;
        var parts = a.NeedsMerge ? 1 : a.Parts;
        var group = Group.IdxX % FewestColumns;
        var firstColumn = (firstGroup + group) * width;
        var end = group < groups ? width : 0;
        var sum = 0f;
        for (var part = 0; part < parts; part++)
        {
            var weight = parts == 1 ? 1f : (float)a.RowsOfPart(part) / a.Rows;
            for (var i = Group.IdxX / FewestColumns; i < end; i += Mergers)
            {
                sum += a.Moments[a.MomentOffset(item, part) + firstColumn + i] * weight;
            }
        }

        var mean = GroupReduction.SumOfColumn(shared, WorkItems, FewestColumns, sum) / width;
        var deviation = 0f;
        for (var part = 0; part < parts; part++)
        {
            var rows = parts == 1 ? a.Rows : a.RowsOfPart(part);
            for (var i = Group.IdxX / FewestColumns; i < end; i += Mergers)
            {
                var at = a.MomentOffset(item, part) + firstColumn + i;
                var d = a.Moments[at] - mean;
                deviation += a.Moments[at + a.Channels] + (d * d * rows);
            }
        }

        deviation = GroupReduction.SumOfColumn(shared, WorkItems, FewestColumns, deviation);
        if (Group.IdxX < groups)
        {
            means[group] = mean;
            factors[group] = 1f / MathF.Sqrt((deviation / ((float)a.Rows * width)) + a.Epsilon);
        }

        Group.Barrier();
    }

    private static int ColumnBlocks(GroupNormArguments<T> a) => (a.Channels + MomentColumns - 1) / MomentColumns;

    /// <summary>Groups of channels that are normalised together.</summary>
    private static int TileGroups(GroupNormArguments<T> a) => IntrinsicMath.Max(1, FewestColumns / (a.Channels / a.Groups));

    private static int GroupTiles(GroupNormArguments<T> a) => (a.Groups + TileGroups(a) - 1) / TileGroups(a);

    private static int TileRows(GroupNormArguments<T> a) => IntrinsicMath.Max(1, TileValues / (TileGroups(a) * (a.Channels / a.Groups)));

    private static int RowTiles(GroupNormArguments<T> a) => (a.Rows + TileRows(a) - 1) / TileRows(a);
}
