using ILGPU;
using ILGPU.Runtime;

namespace StableDiffusion.Ilgpu.Kernels;

/// <summary>Compiles kernels whose groups have many work-items: for a device, or, in tests, for an interpreter of what a device would run.</summary>
internal interface IKernelLoader
{
    /// <param name="name">The kernel's, for people to read.</param>
    /// <param name="kernel">The kernel.</param>
    /// <param name="specialization">The work-items of its groups, where registers are to be shared out for so many.</param>
    /// <param name="dynamicBytes">Shared memory of dynamic size that its launches ask for.</param>
    /// <exception cref="StableDiffusionException">ILGPU or the driver's compiler rejects the kernel.</exception>
    Action<AcceleratorStream, KernelConfig, TArguments> Load<TArguments>(
        string name, Action<TArguments> kernel, KernelSpecialization specialization = default, int dynamicBytes = 0)
        where TArguments : struct;
}
