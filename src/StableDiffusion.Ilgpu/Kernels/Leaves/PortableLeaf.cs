using System.Runtime.CompilerServices;
using ILGPU;

namespace StableDiffusion.Ilgpu.Kernels.Leaves;

/// <summary>All leaves in plain C#.</summary>
internal struct PortableLeaf<T, TFormat> : ILeaf<T>
    where T : unmanaged
    where TFormat : struct, IFormat<T>
{
    /// <summary>Not every device has atomic operations: groups take turns.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly int NextTile(ArrayView<int> counter, int previous) => previous < 0 ? Grid.IdxX : previous + Grid.DimX;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly float Load(ArrayView<T> source, long index) =>
        PortableRows<T, TFormat>.Load(source, index);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Store(ArrayView<T> target, long index, float value) =>
        PortableRows<T, TFormat>.Store(target, index, value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Widen(
        ArrayView<T> source, long sourceOffset, int sourcePitch, ArrayView<float> target, int targetOffset, int targetPitch, int rows, int count) =>
        PortableRows<T, TFormat>.Widen(source, sourceOffset, sourcePitch, target, targetOffset, targetPitch, rows, count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Clear(ArrayView<float> target, int offset, int pitch, int rows, int count) =>
        Portable.Clear(target, offset, pitch, rows, count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Multiply(
        ArrayView<float> a, int aOffset, int aPitch, ArrayView<float> b, int bOffset, int bPitch, ArrayView<float> c, int cOffset, int cPitch,
        int rows, int depth, int accumulate) =>
        Portable.Multiply(a, aOffset, aPitch, b, bOffset, bPitch, c, cOffset, cPitch, rows, depth, accumulate);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void MultiplyTransposed(
        ArrayView<float> a, int aOffset, int aPitch, ArrayView<float> b, int bOffset, ArrayView<float> c, int cOffset, int rows, int depth) =>
        Portable.MultiplyTransposed(a, aOffset, aPitch, b, bOffset, c, cOffset, rows, depth);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void TransformSource(
        ArrayView<T> source, long offset, int linePitch, int pixelPitch, int y, int x, int height, int width, int enlarged,
        ArrayView<float> target, int targetOffset, int distance, int count) =>
        PortableWinograd<T, TFormat>.TransformSource(source, offset, linePitch, pixelPitch, y, x, height, width, enlarged, target, targetOffset, distance, count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void TransformWeights(
        ArrayView<T> weights, long offset, int tapPitch, ArrayView<float> target, int targetOffset, int distance, int pitch, int block, int depth) =>
        PortableWinograd<T, TFormat>.TransformWeights(weights, offset, tapPitch, target, targetOffset, distance, pitch, block, depth);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void TransformSums(ArrayView<float> sums, int offset, int distance, ArrayView<float> target, int targetOffset, int pitch) =>
        PortableWinograd<T, TFormat>.TransformSums(sums, offset, distance, target, targetOffset, pitch);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Finish(
        Epilogue epilogue, ArrayView<float> sums, int sumsOffset, ArrayView<float> bias, int biasOffset, ArrayView<T> itemBias, long itemBiasOffset,
        ArrayView<T> residual, long residualOffset, ArrayView<T> target, long targetOffset, int count) =>
        PortableRows<T, TFormat>.Finish(epilogue, sums, sumsOffset, bias, biasOffset, itemBias, itemBiasOffset, residual, residualOffset, target, targetOffset, count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Softmax(
        ArrayView<float> scores, int scoresOffset, int keys, ArrayView<float> state, int stateOffset, ArrayView<float> output, int outputOffset, int depth,
        int lastKey) =>
        Portable.Softmax(scores, scoresOffset, keys, state, stateOffset, output, outputOffset, depth, lastKey);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void DivideBySum(ArrayView<float> state, int stateOffset, ArrayView<float> output, int outputOffset, int depth) =>
        Portable.DivideBySum(state, stateOffset, output, outputOffset, depth);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Moments(
        ArrayView<T> source, long offset, int pitch, int rows, int width, ArrayView<float> mean, int meanOffset, ArrayView<float> deviation,
        int deviationOffset) =>
        PortableRows<T, TFormat>.Moments(source, offset, pitch, rows, width, mean, meanOffset, deviation, deviationOffset);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Normalize(
        ArrayView<T> source, long sourceOffset, int sourcePitch, ArrayView<T> target, long targetOffset, int targetPitch, int rows, int width,
        ArrayView<float> mean, int meanOffset, ArrayView<float> scale, int scaleOffset, ArrayView<float> shift, int shiftOffset, int silu) =>
        PortableRows<T, TFormat>.Normalize(source, sourceOffset, sourcePitch, target, targetOffset, targetPitch, rows, width, mean, meanOffset, scale, scaleOffset, shift, shiftOffset, silu);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void NormalizeRow(
        ArrayView<T> source, long sourceOffset, ArrayView<T> target, long targetOffset, int width, ArrayView<float> scale, ArrayView<float> shift,
        float epsilon) =>
        PortableRows<T, TFormat>.NormalizeRow(source, sourceOffset, target, targetOffset, width, scale, shift, epsilon);
}
