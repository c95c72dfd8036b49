using ILGPU;
using ILGPU.Runtime;

namespace StableDiffusion.Ilgpu.Kernels;

/// <summary>Makes kernels launchable whose groups have one work-item.</summary>
internal interface ILeafKernelLoader
{
    /// <param name="name">The kernel's, for people to read.</param>
    /// <param name="kernel">The kernel.</param>
    /// <exception cref="StableDiffusionException">ILGPU or the driver's compiler rejects the kernel.</exception>
    Launcher<TArguments> Load<TArguments>(string name, Action<TArguments, ArrayView<float>, ArrayView<int>> kernel)
        where TArguments : struct;
}

/// <summary>Compiles them for an accelerator.</summary>
/// <param name="accelerator">The accelerator.</param>
/// <param name="groups">Of each launch.</param>
/// <param name="cache">What was compiled before; null for none.</param>
internal sealed class LeafKernelLoader(Accelerator accelerator, int groups, KernelCache? cache = null) : ILeafKernelLoader
{
    public Launcher<TArguments> Load<TArguments>(string name, Action<TArguments, ArrayView<float>, ArrayView<int>> kernel)
        where TArguments : struct
    {
        var load = KernelLoading.Load<Action<AcceleratorStream, KernelConfig, TArguments, ArrayView<float>, ArrayView<int>>>(
            accelerator, name, kernel, cache: cache);
        var config = new KernelConfig(groups, 1);
        return (stream, arguments, scratch, counter) => load(stream, config, arguments, scratch, counter);
    }
}
