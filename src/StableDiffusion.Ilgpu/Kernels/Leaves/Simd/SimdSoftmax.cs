using System.Runtime.CompilerServices;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Simd;

/// <summary>The online softmax of one block of keys: queries lie in the lanes, so nothing is ever summed across a register.</summary>
internal static class SimdSoftmax<V> where V : struct, ISimd<V>
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Block(ref float scores, int keys, ref float state, ref float output, int depth, int lastKey)
    {
        for (nint lane = 0; lane < Tile.Columns; lane += V.Count)
        {
            if (lastKey < keys - 1)
            {
                HideLaterKeys(ref Unsafe.Add(ref scores, lane), keys, lastKey + (int)lane);
            }

            var before = V.Load(ref state, lane);
            V maximum = before, other = before;
            nint k = 0;
            for (; k + 1 < keys; k += 2)
            {
                maximum = V.Max(maximum, V.Load(ref scores, (k * Tile.Columns) + lane));
                other = V.Max(other, V.Load(ref scores, ((k + 1) * Tile.Columns) + lane));
            }

            if (k < keys)
            {
                maximum = V.Max(maximum, V.Load(ref scores, (k * Tile.Columns) + lane));
            }

            maximum = V.Max(maximum, other);
            var sum = V.Create(0);
            for (k = 0; k < keys; k++)
            {
                var weight = SimdMath<V>.Exp2(V.Load(ref scores, (k * Tile.Columns) + lane) - maximum);
                V.Store(weight, ref scores, (k * Tile.Columns) + lane);
                sum += weight;
            }

            var rescale = SimdMath<V>.Exp2(before - maximum);
            V.Store(maximum, ref state, lane);
            V.Store(V.MultiplyAdd(V.Load(ref state, Tile.Columns + lane), rescale, sum), ref state, Tile.Columns + lane);
            for (nint i = 0; i < depth; i++)
            {
                V.Store(V.Load(ref output, (i * Tile.Columns) + lane) * rescale, ref output, (i * Tile.Columns) + lane);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void DivideBySum(ref float sums, ref float output, int depth)
    {
        for (nint lane = 0; lane < Tile.Columns; lane += V.Count)
        {
            var factor = V.Create(1) / V.Load(ref sums, lane);
            for (nint i = 0; i < depth; i++)
            {
                V.Store(V.Load(ref output, (i * Tile.Columns) + lane) * factor, ref output, (i * Tile.Columns) + lane);
            }
        }
    }

    /// <summary>Keys after lastKey + lane get a logit whose weight is nothing beside any other's.</summary>
    private static void HideLaterKeys(ref float scores, int keys, int lastKey)
    {
        var last = V.Indices + V.Create(lastKey);
        for (nint k = Math.Max(0, lastKey); k < keys; k++)
        {
            var key = V.Create(k);
            V.Store(V.WhereGreater(key, last, V.Create(-1e30f), V.Load(ref scores, k * Tile.Columns)), ref scores, k * Tile.Columns);
        }
    }
}
