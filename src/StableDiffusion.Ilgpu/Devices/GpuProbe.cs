using System.Runtime.InteropServices;

namespace StableDiffusion.Ilgpu.Devices;

/// <summary>
/// Asks the drivers whether there is a GPU at all, before ILGPU is started for it: a machine without one pays for a look at a file or two.
/// Each answer is null if there is one, or else what is missing.
/// </summary>
internal static unsafe class GpuProbe
{
    /// <summary>The library of NVIDIA's driver.</summary>
    public static readonly string CudaName = OperatingSystem.IsWindows() ? "nvcuda.dll" : "libcuda.so.1";

    /// <summary>OpenCL's loader.</summary>
    public static readonly string OpenClName = OperatingSystem.IsWindows() ? "OpenCL.dll"
        : OperatingSystem.IsMacOS() ? "/System/Library/Frameworks/OpenCL.framework/OpenCL" : "libOpenCL.so.1";

    private const ulong GpuType = 1 << 2; // CL_DEVICE_TYPE_GPU

    private const int MostPlatforms = 64;

    public static bool HasOpenCl => NativeLibrary.TryLoad(OpenClName, out _);

    public static string? MissingCuda()
    {
        if (!NativeLibrary.TryLoad(CudaName, out var library))
        {
            return $"no CUDA driver ({CudaName})";
        }

        if (!NativeLibrary.TryGetExport(library, "cuInit", out var start) || !NativeLibrary.TryGetExport(library, "cuDeviceGetCount", out var ask))
        {
            return $"{CudaName} is no CUDA driver";
        }

        var count = 0;
        var status = ((delegate* unmanaged<uint, int>)start)(0);
        status = status == 0 ? ((delegate* unmanaged<int*, int>)ask)(&count) : status;
        return status != 0 ? $"CUDA's driver reports error {status}" : count == 0 ? "no CUDA device" : null;
    }

    /// <summary>
    /// Drivers for processors are not asked: they take tens of milliseconds to load. Where none is registered in the usual place, the loader may know another one.
    /// </summary>
    public static string? MissingOpenClGpu()
    {
        if (!NativeLibrary.TryLoad(OpenClName, out var library))
        {
            return $"no OpenCL ({OpenClName})";
        }

        return OpenClDrivers.Registered() is { Count: > 0 } drivers && drivers.All(OpenClDrivers.IsForProcessors) || CountGpus(library) == 0 ? "no OpenCL GPU" : null;
    }

    private static uint CountGpus(nint library)
    {
        var platforms = stackalloc nint[MostPlatforms];
        uint platformCount = 0;
        if (!NativeLibrary.TryGetExport(library, "clGetPlatformIDs", out var listPlatforms)
            || !NativeLibrary.TryGetExport(library, "clGetDeviceIDs", out var listDevices)
            || ((delegate* unmanaged<uint, nint*, uint*, int>)listPlatforms)(MostPlatforms, platforms, &platformCount) != 0)
        {
            return 0;
        }

        uint sum = 0;
        for (var i = 0; i < Math.Min(MostPlatforms, platformCount); i++)
        {
            uint count = 0;
            var status = ((delegate* unmanaged<nint, ulong, uint, nint*, uint*, int>)listDevices)(platforms[i], GpuType, 0, null, &count);
            sum += status == 0 ? count : 0;
        }

        return sum;
    }
}
