using System.Runtime.CompilerServices;
using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves.Simd;

namespace StableDiffusion.Ilgpu.Kernels.Leaves;

/// <summary>The leaves of <see cref="CpuSimd{V}"/>, for the CPU accelerator.</summary>
internal struct CpuSimdLeaf<T, TFormat, TSimdFormat, V> : ILeaf<T>
    where T : unmanaged
    where TFormat : struct, IFormat<T>
    where TSimdFormat : struct, ISimdFormat<T>
    where V : struct, ISimd<V>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly int NextTile(ArrayView<int> counter, int previous) => Atomic.Add(ref counter[0], 1);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly float Load(ArrayView<T> source, long index) =>
        PortableRows<T, TFormat>.Load(source, index);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Store(ArrayView<T> target, long index, float value) =>
        PortableRows<T, TFormat>.Store(target, index, value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Widen(
        ArrayView<T> source, long sourceOffset, int sourcePitch, ArrayView<float> target, int targetOffset, int targetPitch, int rows, int count) =>
        CpuSimdRows<T, TFormat, TSimdFormat, V>.Widen(source, sourceOffset, sourcePitch, target, targetOffset, targetPitch, rows, count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Clear(ArrayView<float> target, int offset, int pitch, int rows, int count) =>
        CpuSimd<V>.Clear(target, offset, pitch, rows, count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Multiply(
        ArrayView<float> a, int aOffset, int aPitch, ArrayView<float> b, int bOffset, int bPitch, ArrayView<float> c, int cOffset, int cPitch,
        int rows, int depth, int accumulate) =>
        CpuSimd<V>.Multiply(a, aOffset, aPitch, b, bOffset, bPitch, c, cOffset, cPitch, rows, depth, accumulate);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void MultiplyTransposed(
        ArrayView<float> a, int aOffset, int aPitch, ArrayView<float> b, int bOffset, ArrayView<float> c, int cOffset, int rows, int depth) =>
        CpuSimd<V>.MultiplyTransposed(a, aOffset, aPitch, b, bOffset, c, cOffset, rows, depth);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void TransformSource(
        ArrayView<T> source, long offset, int linePitch, int pixelPitch, int y, int x, int height, int width, int enlarged,
        ArrayView<float> target, int targetOffset, int distance, int count) =>
        CpuSimdWinograd<T, TFormat, TSimdFormat, V>.TransformSource(source, offset, linePitch, pixelPitch, y, x, height, width, enlarged, target, targetOffset, distance, count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void TransformWeights(
        ArrayView<T> weights, long offset, int tapPitch, ArrayView<float> target, int targetOffset, int distance, int pitch, int block, int depth) =>
        CpuSimdWinograd<T, TFormat, TSimdFormat, V>.TransformWeights(weights, offset, tapPitch, target, targetOffset, distance, pitch, block, depth);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void TransformSums(ArrayView<float> sums, int offset, int distance, ArrayView<float> target, int targetOffset, int pitch) =>
        CpuSimdWinograd<T, TFormat, TSimdFormat, V>.TransformSums(sums, offset, distance, target, targetOffset, pitch);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Finish(
        Epilogue epilogue, ArrayView<float> sums, int sumsOffset, ArrayView<float> bias, int biasOffset, ArrayView<T> itemBias, long itemBiasOffset,
        ArrayView<T> residual, long residualOffset, ArrayView<T> target, long targetOffset, int count) =>
        CpuSimdRows<T, TFormat, TSimdFormat, V>.Finish(epilogue, sums, sumsOffset, bias, biasOffset, itemBias, itemBiasOffset, residual, residualOffset, target, targetOffset, count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Softmax(
        ArrayView<float> scores, int scoresOffset, int keys, ArrayView<float> state, int stateOffset, ArrayView<float> output, int outputOffset, int depth,
        int lastKey) =>
        CpuSimd<V>.Softmax(scores, scoresOffset, keys, state, stateOffset, output, outputOffset, depth, lastKey);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void DivideBySum(ArrayView<float> state, int stateOffset, ArrayView<float> output, int outputOffset, int depth) =>
        CpuSimd<V>.DivideBySum(state, stateOffset, output, outputOffset, depth);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Moments(
        ArrayView<T> source, long offset, int pitch, int rows, int width, ArrayView<float> mean, int meanOffset, ArrayView<float> deviation,
        int deviationOffset) =>
        CpuSimdRows<T, TFormat, TSimdFormat, V>.Moments(source, offset, pitch, rows, width, mean, meanOffset, deviation, deviationOffset);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Normalize(
        ArrayView<T> source, long sourceOffset, int sourcePitch, ArrayView<T> target, long targetOffset, int targetPitch, int rows, int width,
        ArrayView<float> mean, int meanOffset, ArrayView<float> scale, int scaleOffset, ArrayView<float> shift, int shiftOffset, int silu) =>
        CpuSimdRows<T, TFormat, TSimdFormat, V>.Normalize(source, sourceOffset, sourcePitch, target, targetOffset, targetPitch, rows, width, mean, meanOffset, scale, scaleOffset, shift, shiftOffset, silu);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void NormalizeRow(
        ArrayView<T> source, long sourceOffset, ArrayView<T> target, long targetOffset, int width, ArrayView<float> scale, ArrayView<float> shift,
        float epsilon) =>
        CpuSimdRows<T, TFormat, TSimdFormat, V>.NormalizeRow(source, sourceOffset, target, targetOffset, width, scale, shift, epsilon);
}
