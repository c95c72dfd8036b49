using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Norms;

/// <summary>Sums over the work-items of a group, always in the same order. Every work-item must take part.</summary>
internal static class GroupReduction
{
    /// <summary>The sum of all values, one of each work-item. Shared memory holds as many, and their number is a power of 2.</summary>
    public static float Sum(ArrayView<float> shared, int workItems, float value)
    {
        shared[Group.IdxX] = value;
        Group.Barrier();
        for (var distance = workItems / 2; distance > 0; distance /= 2)
        {
            if (Group.IdxX < distance)
            {
                shared[Group.IdxX] += shared[Group.IdxX + distance];
            }

            Group.Barrier();
        }

        var sum = shared[0];
        Group.Barrier();
        return sum;
    }

    /// <summary>The sum of those work-items' values that have the same number modulo <paramref name="columns"/>.</summary>
    public static float SumOfColumn(ArrayView<float> shared, int workItems, int columns, float value)
    {
        shared[Group.IdxX] = value;
        Group.Barrier();
        var sum = 0f;
        for (var i = Group.IdxX % columns; i < workItems; i += columns)
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
