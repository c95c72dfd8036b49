using System.Runtime.CompilerServices;
using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves.Simd;

namespace StableDiffusion.Ilgpu.Kernels.Leaves;

/// <summary>
/// The SIMD leaves on stored values. Whole registers of columns are done here, what is left over by the portable leaf.
/// </summary>
internal static class CpuSimdRows<T, TFormat, TSimdFormat, V>
    where T : unmanaged
    where TFormat : struct, IFormat<T>
    where TSimdFormat : struct, ISimdFormat<T>
    where V : struct, ISimd<V>
{
    /// <summary>Columns are split at multiples of the widest register, so that the results do not depend on its width more than they must.</summary>
    private const int WholeColumns = ~15;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Widen(
        ArrayView<T> source, long sourceOffset, int sourcePitch, ArrayView<float> target, int targetOffset, int targetPitch, int rows, int count)
    {
        if (rows == 0 || count == 0)
        {
            return;
        }

        ref var from = ref source[sourceOffset];
        ref var to = ref target[targetOffset];
        SimdRows<V, T, TSimdFormat>.Widen(ref from, sourcePitch, ref to, targetPitch, rows, count);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Finish(
        Epilogue epilogue, ArrayView<float> sums, int sumsOffset, ArrayView<float> bias, int biasOffset, ArrayView<T> itemBias, long itemBiasOffset,
        ArrayView<T> residual, long residualOffset, ArrayView<T> target, long targetOffset, int count)
    {
        var whole = count & WholeColumns;
        if (whole > 0)
        {
            FinishWhole<V>(
                epilogue, sums, sumsOffset, bias, biasOffset, itemBias, itemBiasOffset, residual, residualOffset, target, targetOffset, whole);
        }

        // Heads of 40 channels leave eight.
        if (count - whole >= 8 && epilogue.Geglu == 0)
        {
            FinishWhole<Simd256>(
                epilogue, sums, sumsOffset + whole, bias, biasOffset + whole, itemBias, itemBiasOffset + whole, residual, residualOffset + whole, target,
                targetOffset + whole, 8);
            whole += 8;
        }

        if (whole < count)
        {
            var columns = epilogue.Geglu != 0 ? 2 * whole : whole;
            PortableRows<T, TFormat>.Finish(
                epilogue, sums, sumsOffset + columns, bias, biasOffset + columns, itemBias, itemBiasOffset + whole, residual, residualOffset + whole,
                target, targetOffset + whole, count - whole);
        }
    }

    /// <summary>Columns that are a multiple of W's.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void FinishWhole<W>(
        Epilogue epilogue, ArrayView<float> sums, int sumsOffset, ArrayView<float> bias, int biasOffset, ArrayView<T> itemBias, long itemBiasOffset,
        ArrayView<T> residual, long residualOffset, ArrayView<T> target, long targetOffset, int count)
        where W : struct, ISimd<W>
    {
        // An absent view has no element to refer to; the target stands in for it and is not read.
        ref var item = ref epilogue.HasItemBias != 0 ? ref itemBias[itemBiasOffset] : ref target[targetOffset];
        ref var added = ref epilogue.HasResidual != 0 ? ref residual[residualOffset] : ref target[targetOffset];
        ref var first = ref sums[sumsOffset];
        ref var firstBias = ref bias[biasOffset];
        ref var to = ref target[targetOffset];
        SimdRows<W, T, TSimdFormat>.Finish(epilogue, ref first, ref firstBias, ref item, ref added, ref to, count);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Moments(
        ArrayView<T> source, long offset, int pitch, int rows, int width, ArrayView<float> mean, int meanOffset, ArrayView<float> deviation,
        int deviationOffset)
    {
        var whole = width & WholeColumns;
        if (whole > 0)
        {
            ref var from = ref source[offset];
            ref var means = ref mean[meanOffset];
            ref var deviations = ref deviation[deviationOffset];
            SimdRows<V, T, TSimdFormat>.Moments(ref from, pitch, rows, whole, ref means, ref deviations);
        }

        if (whole < width)
        {
            PortableRows<T, TFormat>.Moments(
                source, offset + whole, pitch, rows, width - whole, mean, meanOffset + whole, deviation, deviationOffset + whole);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Normalize(
        ArrayView<T> source, long sourceOffset, int sourcePitch, ArrayView<T> target, long targetOffset, int targetPitch, int rows, int width,
        ArrayView<float> mean, int meanOffset, ArrayView<float> scale, int scaleOffset, ArrayView<float> shift, int shiftOffset, int silu)
    {
        var whole = width & WholeColumns;
        if (whole > 0)
        {
            ref var from = ref source[sourceOffset];
            ref var to = ref target[targetOffset];
            ref var means = ref mean[meanOffset];
            ref var scales = ref scale[scaleOffset];
            ref var shifts = ref shift[shiftOffset];
            SimdRows<V, T, TSimdFormat>.Normalize(
                ref from, sourcePitch, ref to, targetPitch, rows, whole, ref means, ref scales, ref shifts, silu != 0);
        }

        if (whole < width)
        {
            PortableRows<T, TFormat>.Normalize(
                source, sourceOffset + whole, sourcePitch, target, targetOffset + whole, targetPitch, rows, width - whole, mean, meanOffset + whole,
                scale, scaleOffset + whole, shift, shiftOffset + whole, silu);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void NormalizeRow(
        ArrayView<T> source, long sourceOffset, ArrayView<T> target, long targetOffset, int width, ArrayView<float> scale, ArrayView<float> shift,
        float epsilon)
    {
        ref var from = ref source[sourceOffset];
        ref var to = ref target[targetOffset];
        SimdRows<V, T, TSimdFormat>.NormalizeRow(ref from, ref to, width, ref scale[0], ref shift[0], epsilon);
    }
}
