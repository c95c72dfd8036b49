using System.Runtime.InteropServices;
using ILGPU.Runtime.Cuda;

namespace StableDiffusion.Ilgpu.Kernels;

/// <summary>What of CUDA's driver the kernels need and ILGPU does not call. The library is loaded by now: an accelerator is open.</summary>
internal static unsafe class CudaDriver
{
    private const int MaxDynamicSharedSizeBytes = 8; // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES

    /// <summary>Lets a kernel's launches use so much shared memory of dynamic size.</summary>
    /// <exception cref="StableDiffusionException">The device has not so much.</exception>
    public static void AllowSharedBytes(CudaAccelerator accelerator, CudaKernel kernel, int bytes, string name)
    {
        var set = (delegate* unmanaged<nint, int, int, int>)NativeLibrary.GetExport(
            NativeLibrary.Load(OperatingSystem.IsWindows() ? "nvcuda.dll" : "libcuda.so.1"), "cuFuncSetAttribute");
        accelerator.Bind();
        var status = set(kernel.FunctionPtr, MaxDynamicSharedSizeBytes, bytes);
        if (status != 0)
        {
            throw new StableDiffusionException(
                $"{accelerator.Name}: the kernel {name} needs {bytes} bytes of shared memory, more than the driver allows (error {status}); another device is needed");
        }
    }
}
