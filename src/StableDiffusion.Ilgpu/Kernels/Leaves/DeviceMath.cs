using ILGPU.IR.Intrinsics;

namespace StableDiffusion.Ilgpu.Kernels.Leaves;

/// <summary>
/// Operations of the kernels for GPUs that are one instruction of every GPU, and several of ILGPU's. Each backend's code for a call is registered with
/// its other code (<see cref="Cuda.CudaMathCode"/>, <see cref="OpenCl.ClMathCode"/>); .NET runs what stands here.
/// </summary>
internal static class DeviceMath
{
    /// <summary>
    /// factor * value + sum. ILGPU writes a product and a sum as two statements. NVIDIA's assembler joins them, but OpenCL's compilers may only within one
    /// expression, and AMD's and Intel's then take twice the instructions.
    /// </summary>
    [IntrinsicImplementation]
    public static float MultiplyAdd(float factor, float value, float sum) => MathF.FusedMultiplyAdd(factor, value, sum);
}
