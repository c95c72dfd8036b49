using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels;

/// <summary>
/// The kernels for NVIDIA's GPUs since compute capability 8.0: contractions and attention on tensor cores, everything else as any GPU runs it.
/// What does not fit the tensor cores' kernels (channels that are no multiple of 8, a few rows only) goes to the others too.
/// </summary>
internal sealed class CudaKernels(IKernelLoader loader, int multiprocessors) : GpuKernels<ushort, HalfFormat>(loader, multiprocessors)
{
    public override string Leaf => "tensor";
}
