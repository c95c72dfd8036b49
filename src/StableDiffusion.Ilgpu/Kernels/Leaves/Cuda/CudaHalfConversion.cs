using ILGPU;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>CUDA's own instructions since compute capability 8.0: <c>cvt.f32.f16</c>, <c>cvt.rn.f16.f32</c>, for two values <c>cvt.rn.f16x2.f32</c> (in 7.5 by <see cref="TuringPtx"/>), <c>ex2.approx</c> and <c>rcp.approx</c>.</summary>
internal struct CudaHalfConversion : IHalfConversion
{
    public readonly float Widen(int bits) => Interop.IntAsFloat((ushort)bits);

    public readonly int Narrow(float value) => Interop.FloatAsInt((ILGPU.Half)value);

    public readonly int NarrowPair(float lower, float upper) => CudaMath.NarrowPair(lower, upper);

    public readonly float Exp2(float x) => CudaMath.Exp2(x);

    public readonly float Reciprocal(float x) => CudaMath.Reciprocal(x);
}

/// <summary>As <see cref="CudaHalfConversion"/>, before compute capability 8.0, which has no instruction for two values.</summary>
internal struct EarlyCudaHalfConversion : IHalfConversion
{
    public readonly float Widen(int bits) => default(CudaHalfConversion).Widen(bits);

    public readonly int Narrow(float value) => default(CudaHalfConversion).Narrow(value);

    public readonly int NarrowPair(float lower, float upper) => Narrow(lower) | (Narrow(upper) << 16);

    public readonly float Exp2(float x) => CudaMath.Exp2(x);

    public readonly float Reciprocal(float x) => CudaMath.Reciprocal(x);
}
