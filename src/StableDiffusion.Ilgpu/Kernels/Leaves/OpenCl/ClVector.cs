using ILGPU.IR.Intrinsics;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;

#pragma warning disable CA1801, IDE0060 // The methods stand for OpenCL text that uses their parameters.

/// <summary>
/// What OpenCL compiles in the place of calls: the leaves on fp32 scratch memory, in vectors of 16, for OpenCL devices that are processors.
/// The text is in <see cref="ClVectorCode"/>.
/// </summary>
internal static class ClVector
{
    [IntrinsicImplementation]
    public static void Clear(ref float target, int pitch, int rows, int count) => throw NotOpenCl();

    /// <summary>As <see cref="ILeaf{T}.Multiply"/>, with sums of 6 x 16: for processors with sixteen registers of eight values.</summary>
    [IntrinsicImplementation]
    public static void Multiply6(ref float a, int aPitch, ref float b, int bPitch, ref float c, int cPitch, int rows, int depth, int accumulate) =>
        throw NotOpenCl();

    /// <summary>As <see cref="ILeaf{T}.Multiply"/>, with sums of 8 x 32: for processors with 32 registers of sixteen values.</summary>
    [IntrinsicImplementation]
    public static void Multiply8(ref float a, int aPitch, ref float b, int bPitch, ref float c, int cPitch, int rows, int depth, int accumulate) =>
        throw NotOpenCl();

    [IntrinsicImplementation]
    public static void MultiplyTransposed6(ref float a, int aPitch, ref float b, ref float c, int rows, int depth) => throw NotOpenCl();

    [IntrinsicImplementation]
    public static void MultiplyTransposed8(ref float a, int aPitch, ref float b, ref float c, int rows, int depth) => throw NotOpenCl();

    [IntrinsicImplementation]
    public static void Softmax(ref float scores, int keys, ref float state, ref float output, int depth, int lastKey) => throw NotOpenCl();

    [IntrinsicImplementation]
    public static void DivideBySum(ref float sums, ref float output, int depth) => throw NotOpenCl();

    [IntrinsicImplementation]
    public static void TransformSums(ref float sums, int distance, ref float target, int pitch) => throw NotOpenCl();

    internal static NotSupportedException NotOpenCl() => new("only OpenCL's compiler knows this method");
}

/// <summary>As <see cref="ClVector"/>, the leaves that touch stored values.</summary>
internal static class ClVector<T> where T : unmanaged
{
    [IntrinsicImplementation]
    public static void Widen(ref T source, int sourcePitch, ref float target, int targetPitch, int rows, int count) => throw ClVector.NotOpenCl();

    /// <summary>Columns in whole vectors; with Geglu the sums are twice as many.</summary>
    [IntrinsicImplementation]
    public static void Finish(
        ref float sums, ref float bias, ref T itemBias, ref T residual, ref T target, int count, int activation, int activatesSum, int geglu, int hasItemBias,
        int hasResidual) => throw ClVector.NotOpenCl();

    [IntrinsicImplementation]
    public static void Moments(ref T source, int pitch, int rows, int width, ref float mean, ref float deviation) => throw ClVector.NotOpenCl();

    [IntrinsicImplementation]
    public static void Normalize(
        ref T source, int sourcePitch, ref T target, int targetPitch, int rows, int width, ref float mean, ref float scale, ref float shift, int silu) =>
        throw ClVector.NotOpenCl();

    [IntrinsicImplementation]
    public static void NormalizeRow(ref T source, ref T target, int width, ref float scale, ref float shift, float epsilon) =>
        throw ClVector.NotOpenCl();

    [IntrinsicImplementation]
    public static void TransformSource(
        ref T source, int linePitch, int pixelPitch, int y, int x, int height, int width, int enlarged, ref float target, int distance, int count) =>
        throw ClVector.NotOpenCl();

    [IntrinsicImplementation]
    public static void TransformWeights(ref T weights, int tapPitch, ref float target, int distance, int pitch, int block, int depth) =>
        throw ClVector.NotOpenCl();
}
