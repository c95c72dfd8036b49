using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Norms;

/// <summary>Sums over the work-items of a group, always in the same order. Every work-item must take part.</summary>
internal static class GroupReduction
{
    /// <summary>The sum of all values, one of each work-item. Shared memory holds as many, and their number is a power of 2.</summary>
    public static float Sum(ArrayView<float> shared, int workItems, float value) => SumOfColumn(shared, workItems, 1, Group.IdxX, value);

    /// <summary>
    /// How work-items are shared out to a few sums: work-item i takes part in sum i modulo a power of 2 that is no less than <paramref name="sums"/>, each with so
    /// many work-items.
    /// </summary>
    public static (int Lanes, int Step) Share(int workItems, int sums)
    {
        var (lanes, step) = (1, workItems);
        while (lanes < sums)
        {
            lanes *= 2;
            step /= 2;
        }

        return (lanes, step);
    }

    /// <summary>
    /// The sum of those work-items' values that have the same number modulo <paramref name="columns"/>, of column position modulo columns.
    /// </summary>
    /// <param name="shared">Holds all values.</param>
    /// <param name="workItems">A power of 2.</param>
    /// <param name="columns">A power of 2, no more than the work-items.</param>
    /// <param name="position">The work-item's number, each of 0 … work-items - 1 once.</param>
    /// <param name="value">The work-item's.</param>
    public static float SumOfColumn(ArrayView<float> shared, int workItems, int columns, int position, float value)
    {
        shared[position] = value;
        Group.Barrier();

        // Four values at a time: what is added to a sum is no sum of this round, so that a barrier a round is enough.
        var count = workItems;
        while (count >= 4 * columns)
        {
            count /= 4;
            if (Group.IdxX < count)
            {
                var at = Group.IdxX;
                shared[at] = shared[at] + shared[at + count] + (shared[at + (2 * count)] + shared[at + (3 * count)]);
            }

            Group.Barrier();
        }

        // One or two are left. A read outside of a loop ILGPU would move to where it is used, beyond the barrier.
        var sum = 0f;
        for (var i = position & (columns - 1); i < count; i += columns)
        {
            sum += shared[i];
        }

        Group.Barrier();
        return sum;
    }

    /// <summary>
    /// Work-items have eight columns each, those of chunk i modulo <paramref name="chunks"/>: the sums of these columns over all work-items. Shared
    /// memory holds all values.
    /// </summary>
    public static Float8 SumOfChunk(ArrayView<Float4> shared, int workItems, int chunks, Float8 value)
    {
        var columns = chunks * Float8.Length;
        var rows = workItems / chunks;
        var strips = workItems / columns;
        shared[2 * Group.IdxX] = value.Low;
        shared[(2 * Group.IdxX) + 1] = value.High;
        Group.Barrier();

        // First each work-item sums a strip of rows in one column, then the strips.
        var values = shared.Cast<float>();
        var sum = 0f;
        for (var i = 0; i < rows / strips; i++)
        {
            sum += values[(((Group.IdxX / columns * (rows / strips)) + i) * columns) + (Group.IdxX % columns)];
        }

        Group.Barrier();
        values[Group.IdxX] = sum;
        Group.Barrier();
        Float8 sums = default;
        for (var i = 0; i < strips; i++)
        {
            var at = ((i * columns) / 4) + (Group.IdxX % chunks * 2);
            sums = Float8.Add(sums, new Float8 { Low = shared[at], High = shared[at + 1] });
        }

        Group.Barrier();
        return sums;
    }
}
