using System.Runtime.CompilerServices;
using ILGPU;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;

/// <summary>
/// The leaves of <see cref="ClVector"/>, for OpenCL devices that are processors. Whole vectors of 16 columns are done there, what is left over by
/// the portable leaf.
/// </summary>
internal struct ClVectorLeaf<T, TFormat, TSums> : ILeaf<T>
    where T : unmanaged
    where TFormat : struct, IFormat<T>
    where TSums : struct, IClSums
{
    private const int WholeColumns = ~15;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly int NextTile(ArrayView<int> counter, int previous) => default(PortableLeaf<T, TFormat>).NextTile(counter, previous);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly float Load(ArrayView<T> source, long index) => PortableRows<T, TFormat>.Load(source, index);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Store(ArrayView<T> target, long index, float value) => PortableRows<T, TFormat>.Store(target, index, value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Widen(
        ArrayView<T> source, long sourceOffset, int sourcePitch, ArrayView<float> target, int targetOffset, int targetPitch, int rows, int count) =>
        ClVector<T>.Widen(ref source[sourceOffset], sourcePitch, ref target[targetOffset], targetPitch, rows, count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Clear(ArrayView<float> target, int offset, int pitch, int rows, int count) =>
        ClVector.Clear(ref target[offset], pitch, rows, count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Multiply(
        ArrayView<float> a, int aOffset, int aPitch, ArrayView<float> b, int bOffset, int bPitch, ArrayView<float> c, int cOffset, int cPitch,
        int rows, int depth, int accumulate) =>
        default(TSums).Multiply(ref a[aOffset], aPitch, ref b[bOffset], bPitch, ref c[cOffset], cPitch, rows, depth, accumulate);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void MultiplyTransposed(
        ArrayView<float> a, int aOffset, int aPitch, ArrayView<float> b, int bOffset, ArrayView<float> c, int cOffset, int rows, int depth) =>
        default(TSums).MultiplyTransposed(ref a[aOffset], aPitch, ref b[bOffset], ref c[cOffset], rows, depth);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void TransformSource(
        ArrayView<T> source, long offset, int linePitch, int pixelPitch, int y, int x, int height, int width, int enlarged,
        ArrayView<float> target, int targetOffset, int distance, int count) =>
        ClVector<T>.TransformSource(
            ref source[offset], linePitch, pixelPitch, y, x, height, width, enlarged, ref target[targetOffset], distance, count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void TransformWeights(
        ArrayView<T> weights, long offset, int tapPitch, ArrayView<float> target, int targetOffset, int distance, int pitch, int block, int depth) =>
        ClVector<T>.TransformWeights(ref weights[offset], tapPitch, ref target[targetOffset], distance, pitch, block, depth);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void TransformSums(ArrayView<float> sums, int offset, int distance, ArrayView<float> target, int targetOffset, int pitch) =>
        ClVector.TransformSums(ref sums[offset], distance, ref target[targetOffset], pitch);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Finish(
        Epilogue epilogue, ArrayView<float> sums, int sumsOffset, ArrayView<float> bias, int biasOffset, ArrayView<T> itemBias, long itemBiasOffset,
        ArrayView<T> residual, long residualOffset, ArrayView<T> target, long targetOffset, int count)
    {
        var whole = count & WholeColumns;
        ClVector<T>.Finish(
            ref sums[sumsOffset], ref bias[biasOffset], ref itemBias[itemBiasOffset], ref residual[residualOffset], ref target[targetOffset], whole,
            epilogue.Activation, epilogue.ActivatesSum, epilogue.Geglu, epilogue.HasItemBias, epilogue.HasResidual);
        var columns = epilogue.Geglu != 0 ? 2 * whole : whole;
        PortableRows<T, TFormat>.Finish(
            epilogue, sums, sumsOffset + columns, bias, biasOffset + columns, itemBias, itemBiasOffset + whole, residual, residualOffset + whole,
            target, targetOffset + whole, count - whole);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Softmax(
        ArrayView<float> scores, int scoresOffset, int keys, ArrayView<float> state, int stateOffset, ArrayView<float> output, int outputOffset, int depth,
        int lastKey) =>
        ClVector.Softmax(ref scores[scoresOffset], keys, ref state[stateOffset], ref output[outputOffset], depth, lastKey);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void DivideBySum(ArrayView<float> state, int stateOffset, ArrayView<float> output, int outputOffset, int depth) =>
        ClVector.DivideBySum(ref state[stateOffset + Tile.Columns], ref output[outputOffset], depth);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Moments(
        ArrayView<T> source, long offset, int pitch, int rows, int width, ArrayView<float> mean, int meanOffset, ArrayView<float> deviation,
        int deviationOffset)
    {
        var whole = width & WholeColumns;
        ClVector<T>.Moments(ref source[offset], pitch, rows, whole, ref mean[meanOffset], ref deviation[deviationOffset]);
        PortableRows<T, TFormat>.Moments(
            source, offset + whole, pitch, rows, width - whole, mean, meanOffset + whole, deviation, deviationOffset + whole);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Normalize(
        ArrayView<T> source, long sourceOffset, int sourcePitch, ArrayView<T> target, long targetOffset, int targetPitch, int rows, int width,
        ArrayView<float> mean, int meanOffset, ArrayView<float> scale, int scaleOffset, ArrayView<float> shift, int shiftOffset, int silu)
    {
        var whole = width & WholeColumns;
        ClVector<T>.Normalize(
            ref source[sourceOffset], sourcePitch, ref target[targetOffset], targetPitch, rows, whole, ref mean[meanOffset], ref scale[scaleOffset],
            ref shift[shiftOffset], silu);
        PortableRows<T, TFormat>.Normalize(
            source, sourceOffset + whole, sourcePitch, target, targetOffset + whole, targetPitch, rows, width - whole, mean, meanOffset + whole,
            scale, scaleOffset + whole, shift, shiftOffset + whole, silu);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void NormalizeRow(
        ArrayView<T> source, long sourceOffset, ArrayView<T> target, long targetOffset, int width, ArrayView<float> scale, ArrayView<float> shift,
        float epsilon) =>
        ClVector<T>.NormalizeRow(ref source[sourceOffset], ref target[targetOffset], width, ref scale[0], ref shift[0], epsilon);
}

/// <summary>How many sums a processor holds in registers.</summary>
internal interface IClSums
{
    void Multiply(ref float a, int aPitch, ref float b, int bPitch, ref float c, int cPitch, int rows, int depth, int accumulate);

    void MultiplyTransposed(ref float a, int aPitch, ref float b, ref float c, int rows, int depth);
}

internal struct ClSums6 : IClSums
{
    /// <summary>Columns that are multiplied at a time.</summary>
    public const int Columns = 16;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Multiply(ref float a, int aPitch, ref float b, int bPitch, ref float c, int cPitch, int rows, int depth, int accumulate) =>
        ClVector.Multiply6(ref a, aPitch, ref b, bPitch, ref c, cPitch, rows, depth, accumulate);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void MultiplyTransposed(ref float a, int aPitch, ref float b, ref float c, int rows, int depth) =>
        ClVector.MultiplyTransposed6(ref a, aPitch, ref b, ref c, rows, depth);
}

internal struct ClSums8 : IClSums
{
    /// <summary>Columns that are multiplied at a time.</summary>
    public const int Columns = 32;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Multiply(ref float a, int aPitch, ref float b, int bPitch, ref float c, int cPitch, int rows, int depth, int accumulate) =>
        ClVector.Multiply8(ref a, aPitch, ref b, bPitch, ref c, cPitch, rows, depth, accumulate);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void MultiplyTransposed(ref float a, int aPitch, ref float b, ref float c, int rows, int depth) =>
        ClVector.MultiplyTransposed8(ref a, aPitch, ref b, ref c, rows, depth);
}
