using ILGPU;

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
}
