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
            var maximum = Maximum(ref Unsafe.Add(ref scores, lane), keys, before);
            var sum = Weigh(ref Unsafe.Add(ref scores, lane), keys, maximum);
            ref var total = ref Unsafe.Add(ref state, Tile.Columns + lane);
            if (V.AreEqual(before, maximum))
            {
                V.Store(V.Load(ref total) + sum, ref total);
                continue;
            }

            var rescale = SimdMath<V>.Exp2(before - maximum);
            V.Store(maximum, ref state, lane);
            V.Store(V.MultiplyAdd(V.Load(ref total), rescale, sum), ref total);
            Multiply(ref Unsafe.Add(ref output, lane), depth, rescale);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void DivideBySum(ref float sums, ref float output, int depth)
    {
        for (nint lane = 0; lane < Tile.Columns; lane += V.Count)
        {
            Multiply(ref Unsafe.Add(ref output, lane), depth, V.Create(1) / V.Load(ref sums, lane));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static V Maximum(ref float scores, int keys, V before)
    {
        V maximum = before, other = before;
        for (; keys > 1; keys -= 2)
        {
            maximum = V.Max(maximum, V.Load(ref scores));
            other = V.Max(other, V.Load(ref scores, Tile.Columns));
            scores = ref Unsafe.Add(ref scores, 2 * Tile.Columns);
        }

        return V.Max(keys > 0 ? V.Max(maximum, V.Load(ref scores)) : maximum, other);
    }

    /// <summary>Scores become weights, whose sum is returned.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static V Weigh(ref float scores, int keys, V maximum)
    {
        var sum = V.Create(0);
        for (; keys > 0; keys--)
        {
            var weight = SimdMath<V>.Exp2(V.Load(ref scores) - maximum);
            V.Store(weight, ref scores);
            sum += weight;
            scores = ref Unsafe.Add(ref scores, Tile.Columns);
        }

        return sum;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Multiply(ref float output, int depth, V factor)
    {
        for (; depth > 0; depth--)
        {
            V.Store(V.Load(ref output) * factor, ref output);
            output = ref Unsafe.Add(ref output, Tile.Columns);
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
