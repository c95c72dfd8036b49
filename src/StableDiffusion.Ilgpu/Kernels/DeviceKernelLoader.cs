using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;

namespace StableDiffusion.Ilgpu.Kernels;

/// <summary>Compiles kernels for an accelerator.</summary>
/// <param name="accelerator">The accelerator.</param>
/// <param name="cache">What was compiled before; null for none.</param>
internal sealed class DeviceKernelLoader(Accelerator accelerator, KernelCache? cache = null) : IKernelLoader
{
    public Action<AcceleratorStream, KernelConfig, TArguments> Load<TArguments>(
        string name, Action<TArguments> kernel, KernelSpecialization specialization = default, int dynamicBytes = 0)
        where TArguments : struct
    {
        var launcher = KernelLoading.Load<Action<AcceleratorStream, KernelConfig, TArguments>>(accelerator, name, kernel, specialization, cache);
        if (accelerator is CudaAccelerator cuda && dynamicBytes > 0)
        {
            // Any kernel may have 48 KiB, but those of fixed size count too.
            CudaDriver.AllowSharedBytes(cuda, (CudaKernel)launcher.GetKernel(), dynamicBytes, name);
        }

        return launcher;
    }
}
