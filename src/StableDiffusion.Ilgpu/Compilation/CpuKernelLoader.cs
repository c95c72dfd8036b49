using ILGPU;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Kernels;

namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>Launches kernels on the processor as .NET compiles them.</summary>
internal sealed class CpuKernelLoader(CpuLaunches launches) : ILeafKernelLoader
{
    public Launcher<TArguments> Load<TArguments>(string name, Action<TArguments, ArrayView<float>, ArrayView<int>> kernel)
        where TArguments : struct => (stream, arguments, scratch, counter) => launches.Launch(stream, kernel, arguments, scratch, counter);
}
