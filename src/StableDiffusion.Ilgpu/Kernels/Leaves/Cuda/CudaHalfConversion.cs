using ILGPU;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>CUDA's own instructions: <c>cvt.f32.f16</c> and <c>cvt.rn.f16.f32</c>.</summary>
internal struct CudaHalfConversion : IHalfConversion
{
    public readonly float Widen(int bits) => Interop.IntAsFloat((ushort)bits);

    public readonly int Narrow(float value) => Interop.FloatAsInt((ILGPU.Half)value);
}
