using System.Runtime.CompilerServices;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Simd;

/// <summary>How registers are filled from stored values.</summary>
internal interface ISimdFormat<T> where T : unmanaged
{
    static abstract V Load<V>(ref T source, nint offset) where V : struct, ISimd<V>;

    static abstract void Store<V>(V value, ref T target, nint offset) where V : struct, ISimd<V>;

    static abstract float LoadOne(ref T source, nint offset);

    static abstract void StoreOne(float value, ref T target, nint offset);
}

internal readonly struct SimdHalfFormat : ISimdFormat<ushort>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<V>(ref ushort source, nint offset) where V : struct, ISimd<V> => V.LoadHalf(ref source, offset);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<V>(V value, ref ushort target, nint offset) where V : struct, ISimd<V> => V.StoreHalf(value, ref target, offset);

    public static float LoadOne(ref ushort source, nint offset)
    {
        var moved = (short)Unsafe.Add(ref source, offset) << 13;
        return BitConverter.Int32BitsToSingle(moved & HalfBits.Kept) * HalfBits.Rescale;
    }

    public static void StoreOne(float value, ref ushort target, nint offset)
    {
        var bits = BitConverter.SingleToUInt32Bits(value);
        var size = bits & 0x7FFFFFFF;
        var rounded = size < HalfBits.SmallestNormal
            ? BitConverter.SingleToUInt32Bits(BitConverter.UInt32BitsToSingle(size) + 0.5f) - HalfBits.HalfOne
            : unchecked(size + HalfBits.RoundBias + ((size >> 13) & 1)) >> 13;
        Unsafe.Add(ref target, offset) = (ushort)(Math.Min(rounded, 0x7C00u) | ((bits >> 16) & 0x8000));
    }
}

internal readonly struct SimdFloatFormat : ISimdFormat<float>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<V>(ref float source, nint offset) where V : struct, ISimd<V> => V.Load(ref source, offset);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<V>(V value, ref float target, nint offset) where V : struct, ISimd<V> => V.Store(value, ref target, offset);

    public static float LoadOne(ref float source, nint offset) => Unsafe.Add(ref source, offset);

    public static void StoreOne(float value, ref float target, nint offset) => Unsafe.Add(ref target, offset) = value;
}

/// <summary>
/// Everything but the multiplications, on registers of type <typeparamref name="V"/>. What is left over after the last full
/// register goes value by value through the same formulas at the narrowest width.
/// </summary>
internal static class SimdRows<V, T, F>
    where V : struct, ISimd<V>
    where T : unmanaged
    where F : struct, ISimdFormat<T>
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Widen(ref T source, nint sourcePitch, ref float target, nint targetPitch, int rows, int count)
    {
        if (count == 2 * V.Count)
        {
            WidenPanel(ref source, sourcePitch, ref target, targetPitch, rows);
            return;
        }

        for (nint row = 0; row < rows; row++)
        {
            ref var from = ref Unsafe.Add(ref source, row * sourcePitch);
            ref var to = ref Unsafe.Add(ref target, row * targetPitch);
            nint i = 0;
            for (; i <= count - V.Count; i += V.Count)
            {
                V.Store(F.Load<V>(ref from, i), ref to, i);
            }

            for (; i < count; i++)
            {
                Unsafe.Add(ref to, i) = F.LoadOne(ref from, i);
            }
        }
    }

    /// <summary>The columns that the matrix micro-kernel takes at once.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void WidenPanel(ref T source, nint sourcePitch, ref float target, nint targetPitch, int rows)
    {
        for (; rows > 0; rows--)
        {
            V.Store(F.Load<V>(ref source, 0), ref target);
            V.Store(F.Load<V>(ref source, V.Count), ref target, V.Count);
            source = ref Unsafe.Add(ref source, sourcePitch);
            target = ref Unsafe.Add(ref target, targetPitch);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Clear(ref float target, nint pitch, int rows, int count)
    {
        for (nint row = 0; row < rows; row++)
        {
            ref var to = ref Unsafe.Add(ref target, row * pitch);
            nint i = 0;
            for (; i <= count - V.Count; i += V.Count)
            {
                V.Store(V.Create(0), ref to, i);
            }

            for (; i < count; i++)
            {
                Unsafe.Add(ref to, i) = 0;
            }
        }
    }

    /// <summary>One loop for each activation: together they are more than the JIT will inline into one method.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Finish(
        Epilogue epilogue, ref float sums, ref float bias, ref T itemBias, ref T residual, ref T target, int count)
    {
        if (epilogue.Geglu != 0)
        {
            FinishGeglu(ref sums, ref bias, ref target, count);
            return;
        }

        switch (epilogue.Activation)
        {
            case (int)Activation.Silu:
                Finish<SimdSilu<V>>(epilogue, ref sums, ref bias, ref itemBias, ref residual, ref target, count);
                break;
            case (int)Activation.Gelu:
                Finish<SimdGelu<V>>(epilogue, ref sums, ref bias, ref itemBias, ref residual, ref target, count);
                break;
            case (int)Activation.QuickGelu:
                Finish<SimdQuickGelu<V>>(epilogue, ref sums, ref bias, ref itemBias, ref residual, ref target, count);
                break;
            case (int)Activation.Relu:
                Finish<SimdRelu<V>>(epilogue, ref sums, ref bias, ref itemBias, ref residual, ref target, count);
                break;
            case (int)Activation.SoftClamp:
                Finish<SimdSoftClamp<V>>(epilogue, ref sums, ref bias, ref itemBias, ref residual, ref target, count);
                break;
            default:
                Finish<SimdIdentity<V>>(epilogue, ref sums, ref bias, ref itemBias, ref residual, ref target, count);
                break;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FinishGeglu(ref float sums, ref float bias, ref T target, int count)
    {
        for (nint i = 0; i <= count - V.Count; i += V.Count)
        {
            var column = (i / 16 * 32) + (i % 16);
            var value = V.Load(ref sums, column) + V.Load(ref bias, column);
            F.Store(value * SimdMath<V>.Gelu(V.Load(ref sums, column + 16) + V.Load(ref bias, column + 16)), ref target, i);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Finish<TActivation>(
        Epilogue epilogue, ref float sums, ref float bias, ref T itemBias, ref T residual, ref T target, int count)
        where TActivation : struct, ISimdActivation<V>
    {
        for (nint i = 0; i <= count - V.Count; i += V.Count)
        {
            var value = V.Load(ref sums, i) + V.Load(ref bias, i);
            if (epilogue.HasItemBias != 0)
            {
                value += F.Load<V>(ref itemBias, i);
            }

            if (epilogue.ActivatesSum == 0)
            {
                value = TActivation.Apply(value);
            }

            if (epilogue.HasResidual != 0)
            {
                value += F.Load<V>(ref residual, i);
            }

            if (epilogue.ActivatesSum != 0)
            {
                value = TActivation.Apply(value);
            }

            F.Store(value, ref target, i);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Moments(ref T source, nint pitch, int rows, int width, ref float mean, ref float deviation)
    {
        for (nint column = 0; column <= width - V.Count; column += V.Count)
        {
            V meanSoFar = V.Create(0), deviationSoFar = V.Create(0);
            for (var start = 0; start < rows; start += Block)
            {
                var count = Math.Min(Block, rows - start);
                ref var first = ref Unsafe.Add(ref source, (start * pitch) + column);
                V even = V.Create(0), odd = V.Create(0);
                nint row = 0;
                for (; row + 1 < count; row += 2)
                {
                    even += F.Load<V>(ref first, row * pitch);
                    odd += F.Load<V>(ref first, (row + 1) * pitch);
                }

                if (row < count)
                {
                    even += F.Load<V>(ref first, row * pitch);
                }

                var blockMean = (even + odd) / V.Create(count);
                even = V.Create(0);
                odd = V.Create(0);
                for (row = 0; row + 1 < count; row += 2)
                {
                    var d = F.Load<V>(ref first, row * pitch) - blockMean;
                    even = V.MultiplyAdd(d, d, even);
                    d = F.Load<V>(ref first, (row + 1) * pitch) - blockMean;
                    odd = V.MultiplyAdd(d, d, odd);
                }

                if (row < count)
                {
                    var d = F.Load<V>(ref first, row * pitch) - blockMean;
                    even = V.MultiplyAdd(d, d, even);
                }

                var weight = (float)count / (start + count);
                var step = blockMean - meanSoFar;
                deviationSoFar = deviationSoFar + even + odd + (step * step * V.Create(weight * start));
                meanSoFar = V.MultiplyAdd(step, V.Create(weight), meanSoFar);
            }

            V.Store(meanSoFar, ref mean, column);
            V.Store(deviationSoFar, ref deviation, column);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Normalize(
        ref T source, nint sourcePitch, ref T target, nint targetPitch, int rows, int width, ref float mean, ref float scale, ref float shift, bool silu)
    {
        for (nint row = 0; row < rows; row++)
        {
            ref var from = ref Unsafe.Add(ref source, row * sourcePitch);
            ref var to = ref Unsafe.Add(ref target, row * targetPitch);
            for (nint i = 0; i <= width - V.Count; i += V.Count)
            {
                var value = V.MultiplyAdd(F.Load<V>(ref from, i) - V.Load(ref mean, i), V.Load(ref scale, i), V.Load(ref shift, i));
                F.Store(silu ? SimdMath<V>.Silu(value) : value, ref to, i);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void NormalizeRow(ref T source, ref T target, int width, ref float scale, ref float shift, float epsilon)
    {
        var sum = V.Create(0);
        nint i = 0;
        for (; i <= width - V.Count; i += V.Count)
        {
            sum += F.Load<V>(ref source, i);
        }

        var total = V.Sum(sum);
        for (; i < width; i++)
        {
            total += F.LoadOne(ref source, i);
        }

        var mean = V.Create(total / width);
        var squares = V.Create(0);
        for (i = 0; i <= width - V.Count; i += V.Count)
        {
            var d = F.Load<V>(ref source, i) - mean;
            squares = V.MultiplyAdd(d, d, squares);
        }

        var deviation = V.Sum(squares);
        for (; i < width; i++)
        {
            var d = F.LoadOne(ref source, i) - (total / width);
            deviation += d * d;
        }

        var factor = 1f / MathF.Sqrt((deviation / width) + epsilon);
        for (i = 0; i <= width - V.Count; i += V.Count)
        {
            var value = (F.Load<V>(ref source, i) - mean) * V.Create(factor);
            F.Store(V.MultiplyAdd(value, V.Load(ref scale, i), V.Load(ref shift, i)), ref target, i);
        }

        for (; i < width; i++)
        {
            var value = (F.LoadOne(ref source, i) - (total / width)) * factor;
            F.StoreOne((value * Unsafe.Add(ref scale, i)) + Unsafe.Add(ref shift, i), ref target, i);
        }
    }

    private const int Block = PortableRows<float, FloatFormat>.MomentRows;
}
