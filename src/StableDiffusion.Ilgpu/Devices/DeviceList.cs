using ILGPU;
using ILGPU.Runtime.Cuda;
using ILGPU.Runtime.OpenCL;

namespace StableDiffusion.Ilgpu.Devices;

/// <summary>What accelerators there are. Each kind is looked for when it is first asked for: that loads drivers.</summary>
internal static class DeviceList
{
    private static readonly Lazy<IReadOnlyList<ComputeDevice>> CudaDevices = new(FindCuda);

    private static readonly Lazy<IReadOnlyList<ComputeDevice>> OpenClDevicesFound = new(FindOpenCl);

    private static readonly Lazy<DefaultDevice> DefaultFound = new(() => DefaultDevice.Choose(Processor!, OfferCuda, OfferOpenCl));

    public static ComputeDevice Processor { get; } =
        new(DeviceKind.Cpu, 0, ProcessorName.Value, GC.GetGCMemoryInfo().TotalAvailableMemoryBytes, Environment.ProcessorCount);

    public static IReadOnlyList<ComputeDevice> Cuda => CudaDevices.Value;

    public static IReadOnlyList<ComputeDevice> OpenCl => OpenClDevicesFound.Value;

    public static DefaultDevice Default => DefaultFound.Value;

    /// <summary>All that can be used, the default one first.</summary>
    public static IReadOnlyList<ComputeDevice> All =>
        [Default.Device, .. new[] { Processor }.Concat(Cuda).Concat(OpenCl).Where(d => d != Default.Device)];

    /// <summary>What cannot be used and why, a line each.</summary>
    public static IReadOnlyList<string> LeftOut =>
    [
        .. Cuda.Count == 0 ? [CudaProblem()] : Array.Empty<string>(),
        .. OpenClDevices.Problem is { } problem ? [problem] : Array.Empty<string>(),
        .. CudaLeftOut().Concat(OpenClDevices.LeftOut).Select(line => $"left out: {line}"),
    ];

    /// <summary>Where a kind without any device is named: what is missing, as the rest of a sentence.</summary>
    public static string? MissingKind(string text) =>
        text.StartsWith("cuda", StringComparison.OrdinalIgnoreCase) && Cuda.Count == 0 ? $": {CudaProblem()}"
        : text.StartsWith("opencl", StringComparison.OrdinalIgnoreCase) && OpenClDevices.Problem is { } problem ? $": {problem}"
        : null;

    public static IReadOnlyList<(string Name, string Value)> Describe(ComputeDevice device) => device.Driver switch
    {
        CLDevice opencl => OpenClDevices.Describe(opencl),
        CudaDevice cuda => [
            ("driver", $"CUDA {cuda.DriverVersion}"), ("architecture", $"{cuda.Architecture}, PTX {cuda.InstructionSet}"),
            ("memory", $"{cuda.MemorySize >> 20} MiB, shared {cuda.MaxSharedMemoryPerGroup >> 10} KiB"),
        ],
        _ => [("vectors", $"{ProcessorVectors.Bits} bits")],
    };

    private static DefaultDevice.Offer OfferCuda() => new(Cuda, GpuProbe.MissingCuda() ?? "no CUDA device that ILGPU can use");

    /// <summary>
    /// Where there is no GPU, the drivers for processors need not be loaded. Apple has given up its OpenCL, and nobody has seen it run these kernels: a
    /// first picture must not depend on it.
    /// </summary>
    private static DefaultDevice.Offer OfferOpenCl() =>
        OperatingSystem.IsMacOS() ? new([], "Apple's OpenCL has to be asked for (opencl)")
        : GpuProbe.MissingOpenClGpu() is { } missing ? new([], missing) : new(OpenCl, "no OpenCL GPU that can be used");

    private static IReadOnlyList<ComputeDevice> FindCuda()
    {
        if (GpuProbe.MissingCuda() is not null)
        {
            return [];
        }

        IlgpuPatches.ResolveLibraryNames();
        using var context = Context.Create(builder => builder.Cuda());
        return [.. context.Devices.OfType<CudaDevice>().Select((d, i) => Describe(DeviceKind.Cuda, i, d, Hardware.Gpu))];
    }

    private static string CudaProblem() => GpuProbe.MissingCuda() is { } missing ? $"{missing}; it comes with NVIDIA's driver" : "no CUDA device that ILGPU can use";

    private static IEnumerable<string> CudaLeftOut()
    {
        if (GpuProbe.MissingCuda() is not null)
        {
            return [];
        }

        IlgpuPatches.ResolveLibraryNames();
        var usable = Cuda.Select(d => ((CudaDevice)d.Driver!).DeviceId);
        return CudaDevice.GetDevices(_ => true).OfType<CudaDevice>().Where(d => !usable.Contains(d.DeviceId))
            .Select(d => $"{d.Name}: ILGPU does not know its architecture, or its driver's PTX");
    }

    private static IReadOnlyList<ComputeDevice> FindOpenCl() =>
        [.. OpenClDevices.Usable.Select((d, i) => Describe(DeviceKind.OpenCl, i, d, OpenClDevices.HardwareOf(d)))];

    private static ComputeDevice Describe(DeviceKind kind, int index, ILGPU.Runtime.Device device, Hardware hardware) =>
        new(kind, index, device.Name.Trim(), device.MemorySize, device.NumMultiprocessors) { Driver = device, Hardware = hardware };
}
