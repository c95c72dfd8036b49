using ILGPU.Backends.OpenCL;
using ILGPU.Runtime.OpenCL;

namespace StableDiffusion.Ilgpu.Devices;

/// <summary>
/// The OpenCL devices of this machine. They are listed here and not by ILGPU, which ends its list at the first device that it cannot read,
/// and does not say why one is missing.
/// </summary>
internal static class OpenClDevices
{
    private const int MostOnPlatform = 64;

    // Names that ILGPU lacks.
    private const CLDeviceInfoType HostUnifiedMemory = (CLDeviceInfoType)0x1035;
    private const CLDeviceInfoType NativeVectorWidthFloat = (CLDeviceInfoType)0x103A;

    /// <summary>
    /// Intel's driver counts execution units, each with room for one group of 64 work-items; others count what has room for four and more. As many large tiles as half
    /// of those units are as fast as small ones: those take twice the instructions for a product there (see <c>opencl-code</c> of the benchmarks).
    /// </summary>
    private const int IntelUnitsEach = 4;

    private static readonly string Install = OperatingSystem.IsLinux()
        ? "install the device's driver (of Debian's packages intel-opencl-icd for Intel, mesa-opencl-icd for AMD, pocl-opencl-icd for any processor)"
        : OperatingSystem.IsMacOS() ? "macOS brings OpenCL itself" : "the graphics driver of the GPU's vendor brings OpenCL";

    private static readonly string NotFound = OperatingSystem.IsLinux() ? "; a GPU's is often open to the groups render and video only" : $"; {Install}";

    private const string NoCache = "; PoCL finds none where it cannot write to its cache, which POCL_CACHE_DIR names, or else pocl in XDG_CACHE_HOME or ~/.cache";

    private static readonly Lazy<Found> Search = new(Look);

    /// <summary>Those that can be opened, in the order of the platforms.</summary>
    public static IReadOnlyList<CLDevice> Usable => Search.Value.Usable;

    /// <summary>A line for each one that cannot be opened, with the reason.</summary>
    public static IReadOnlyList<string> LeftOut => Search.Value.LeftOut;

    /// <summary>What is missing and what to install where no device can be used; else null.</summary>
    public static string? Problem => Usable.Count > 0 ? null
        : Explain(GpuProbe.HasOpenCl, OpenClDrivers.Registered(), OpenClDrivers.Place, Search.Value.Platforms, LeftOut);

    /// <summary>Why no device can be used, in one line.</summary>
    /// <param name="hasLoader">Whether there is an OpenCL library at all.</param>
    /// <param name="drivers">The drivers' libraries, if known.</param>
    /// <param name="place">Where they are registered.</param>
    /// <param name="platforms">Drivers that answered.</param>
    /// <param name="leftOut">Devices that cannot be used, with reasons.</param>
    public static string Explain(bool hasLoader, IReadOnlyList<string>? drivers, string place, int platforms, IReadOnlyList<string> leftOut) =>
        !hasLoader ? $"OpenCL's library {GpuProbe.OpenClName} is missing{(OperatingSystem.IsLinux() ? " (Debian's package ocl-icd-libopencl1)" : "")}; {Install}"
        : drivers is { Count: 0 } ? $"OpenCL has no driver in {place}; {Install}"
        : platforms == 0 ? $"OpenCL's drivers ({Names(drivers)}) do not load, or find no device; {Install}"
        : leftOut.Count == 0 ? $"OpenCL's drivers ({Names(drivers)}) find no device{(drivers?.All(OpenClDrivers.IsForProcessors) == true ? NoCache : NotFound)}"
        : $"no OpenCL device can be used: {leftOut[0]}";

    /// <summary>Why a device cannot be used; null if it can.</summary>
    public static string? Refusal(OpenClTraits device) =>
        !device.IsAvailable ? "its driver says that it is not available"
        : !device.HasCompiler ? "its driver has no compiler"
        : device.AddressBits != 64 ? $"it has addresses of {device.AddressBits} bits, and 64 are needed"
        : device.Language < CLCVersion.CL12 ? $"it compiles {device.Language}, and OpenCL C 1.2 is needed"
        : !device.GenericAddressSpace && !device.CanGrant ? "it has no generic address space, and this version of ILGPU cannot be told to do without"
        : null;

    /// <summary>What ILGPU and the driver say about a device that can be used.</summary>
    public static IReadOnlyList<(string Name, string Value)> Describe(CLDevice device) =>
    [
        ("platform", $"{device.PlatformName}, {Text(device.PlatformId, CLPlatformInfoType.CL_PLATFORM_VERSION)}"),
        ("vendor", Text(device, CLDeviceInfoType.CL_DEVICE_VENDOR)),
        ("driver", Text(device, CLDeviceInfoType.CL_DRIVER_VERSION)),
        ("version", $"{Text(device, CLDeviceInfoType.CL_DEVICE_VERSION)}, compiles {Text(device, CLDeviceInfoType.CL_DEVICE_OPENCL_C_VERSION)}"),
        ("type", device.DeviceType.ToString().Replace("CL_DEVICE_TYPE_", "", StringComparison.Ordinal)),
        ("compute units", $"{device.NumMultiprocessors}, work-groups of up to {device.MaxNumThreadsPerGroup}"),
        ("memory", $"{Mebibytes(device.MemorySize)}, the largest buffer {Mebibytes(LargestBuffer(device))}, local {device.MaxSharedMemoryPerGroup >> 10} KiB"),
        ("fp16", device.Capabilities.Float16 ? "yes" : "as storage (no cl_khr_fp16)"),
        ("matrix instructions", MatrixInstructionsOf.Device(device) switch
        {
            MatrixInstructions.None => "none that are used",
            MatrixInstructions.Intel8 => "Intel's, for sub-groups of 8",
            MatrixInstructions.Intel16 => "Intel's, for sub-groups of 16",
            MatrixInstructions.Rdna3 => "AMD's of RDNA 3",
            MatrixInstructions.Rdna4 => "AMD's of RDNA 4",
            MatrixInstructions.Cdna => "AMD's of CDNA",
            _ => "AMD's products of two values each",
        }),
        ("generic address space", Search.Value.Granted.Contains(device) ? "no; ILGPU is told otherwise, because kernels need none" : "yes"),
    ];

    public static Hardware HardwareOf(CLDevice device) =>
        device.DeviceType.HasFlag(CLDeviceType.CL_DEVICE_TYPE_CPU) ? Hardware.Processor
        : !device.DeviceType.HasFlag(CLDeviceType.CL_DEVICE_TYPE_GPU) ? Hardware.Other
        : device.GetDeviceInfo<int>(HostUnifiedMemory, out var shared) == CLError.CL_SUCCESS && shared != 0 ? Hardware.IntegratedGpu
        : Hardware.Gpu;

    /// <summary>fp32 values of the device's own vectors; 1 where it does not say.</summary>
    public static int VectorWidth(CLDevice device) =>
        device.GetDeviceInfo<int>(NativeVectorWidthFloat, out var width) == CLError.CL_SUCCESS ? Math.Max(1, width) : 1;

    /// <summary>How many multiprocessors tiles are shared out to, on a device for which a platform's driver counts so many compute units.</summary>
    public static int Multiprocessors(string platform, int units) =>
        platform.Contains("Intel", StringComparison.Ordinal) ? Math.Max(1, units / IntelUnitsEach) : units;

    /// <summary>Bytes of the largest buffer that the driver gives.</summary>
    public static long LargestBuffer(CLDevice device) => device.GetDeviceInfo<long>(CLDeviceInfoType.CL_DEVICE_MAX_MEM_ALLOC_SIZE);

    private static Found Look()
    {
        IlgpuPatches.ResolveLibraryNames();
        var platforms = Platforms();
        var found = new Found(platforms.Length);
        foreach (var platform in platforms)
        {
            foreach (var id in Devices(platform))
            {
                Add(platform, id, found);
            }
        }

        return found;
    }

    private static void Add(nint platform, nint id, Found found)
    {
        try
        {
            var device = new CLDevice(platform, id);
            if (Refusal(OpenClTraits.Of(device)) is { } reason)
            {
                found.LeftOut.Add($"{device.Name.Trim()} ({device.PlatformName}): {reason}");
                return;
            }

            if (!device.Capabilities.GenericAddressSpace)
            {
                IlgpuPatches.GrantGenericAddressSpace(device);
                found.Granted.Add(device);
            }

            found.Usable.Add(device);
        }
        catch (Exception e) when (e is CLException or OverflowException or EntryPointNotFoundException)
        {
            // Sizes that ILGPU does not expect, or an answer that is an error.
            found.LeftOut.Add($"a device of {Text(platform, CLPlatformInfoType.CL_PLATFORM_NAME)}: ILGPU cannot read what its driver says: {e.Message}");
        }
    }

    private static nint[] Platforms()
    {
        var api = CLAPI.CurrentAPI;
        if (!api.IsSupported || api.GetNumPlatforms(out var count) != CLError.CL_SUCCESS || count < 1)
        {
            return [];
        }

        var platforms = new nint[count];
        return api.GetPlatforms(platforms, ref count) == CLError.CL_SUCCESS ? platforms : [];
    }

    private static nint[] Devices(nint platform)
    {
        var devices = new nint[MostOnPlatform];
        return CLAPI.CurrentAPI.GetDevices(platform, CLDeviceType.CL_DEVICE_TYPE_ALL, devices, out var count) == CLError.CL_SUCCESS
            ? devices[..Math.Min(count, MostOnPlatform)] : [];
    }

    private static string Text(nint platform, CLPlatformInfoType type) => CLAPI.CurrentAPI.GetPlatformInfo(platform, type).Trim();

    private static string Text(CLDevice device, CLDeviceInfoType type) => CLAPI.CurrentAPI.GetDeviceInfo(device.DeviceId, type).Trim();

    private static string Names(IReadOnlyList<string>? drivers) => drivers is null ? "of this system" : string.Join(", ", drivers);

    private static string Mebibytes(long bytes) => $"{bytes >> 20} MiB";

    private sealed record Found(int Platforms)
    {
        public List<CLDevice> Usable { get; } = [];

        public List<string> LeftOut { get; } = [];

        public HashSet<CLDevice> Granted { get; } = [];
    }
}

/// <summary>What decides whether an OpenCL device can be used.</summary>
/// <param name="IsAvailable">The driver says so.</param>
/// <param name="HasCompiler">Kernels are compiled from source.</param>
/// <param name="AddressBits">Bits of a pointer.</param>
/// <param name="Language">The OpenCL C that kernels are compiled as.</param>
/// <param name="GenericAddressSpace">Pointers may point to any memory.</param>
/// <param name="CanGrant">ILGPU can be told to do without.</param>
internal sealed record OpenClTraits(
    bool IsAvailable, bool HasCompiler, int AddressBits, CLCVersion Language, bool GenericAddressSpace, bool CanGrant)
{
    public static OpenClTraits Of(CLDevice device) => new(
        device.GetDeviceInfo<int>(CLDeviceInfoType.CL_DEVICE_AVAILABLE) != 0,
        device.GetDeviceInfo<int>(CLDeviceInfoType.CL_DEVICE_COMPILER_AVAILABLE) != 0,
        device.GetDeviceInfo<int>(CLDeviceInfoType.CL_DEVICE_ADDRESS_BITS),
        device.CLStdVersion,
        device.Capabilities.GenericAddressSpace,
        IlgpuPatches.CanGrantGenericAddressSpace);
}
