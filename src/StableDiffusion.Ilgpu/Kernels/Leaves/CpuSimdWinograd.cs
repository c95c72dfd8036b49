using System.Runtime.CompilerServices;
using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Gemm;
using StableDiffusion.Ilgpu.Kernels.Leaves.Simd;

namespace StableDiffusion.Ilgpu.Kernels.Leaves;

/// <summary>The SIMD leaves of Winograd's transforms. Channels come in multiples of the widest register.</summary>
internal static class CpuSimdWinograd<T, TFormat, TSimdFormat, V>
    where T : unmanaged
    where TFormat : struct, IFormat<T>
    where TSimdFormat : struct, ISimdFormat<T>
    where V : struct, ISimd<V>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void TransformSource(
        ArrayView<T> source, long offset, int linePitch, int pixelPitch, int y, int x, int height, int width, int enlarged,
        ArrayView<float> target, int targetOffset, int distance, int count) =>
        SimdWinograd<V, T, TSimdFormat>.Source(
            ref source[offset], linePitch, pixelPitch, Math.Max(0, -y), Math.Min(Winograd.Side, height - y), Math.Max(0, -x),
            Math.Min(Winograd.Side, width - x), y, x, enlarged, ref target[targetOffset], distance, count);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void TransformWeights(
        ArrayView<T> weights, long offset, int tapPitch, ArrayView<float> target, int targetOffset, int distance, int pitch, int block, int depth) =>
        SimdWinograd<V, T, TSimdFormat>.Weights(ref weights[offset], tapPitch, ref target[targetOffset], distance, pitch, block, depth);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void TransformSums(ArrayView<float> sums, int offset, int distance, ArrayView<float> target, int targetOffset, int pitch) =>
        SimdWinograd<V, T, TSimdFormat>.Sums(ref sums[offset], distance, ref target[targetOffset], pitch);
}
