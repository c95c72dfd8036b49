using System.Runtime.InteropServices;
using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;

namespace StableDiffusion.Ilgpu.Devices;

/// <summary>Asks ILGPU, and the system, what accelerators there are.</summary>
internal static class DeviceList
{
    private const string ProcessorInformation = "/proc/cpuinfo";

    public static ComputeDevice Cpu() =>
        new(DeviceKind.Cpu, 0, ProcessorName(), GC.GetGCMemoryInfo().TotalAvailableMemoryBytes, Environment.ProcessorCount);

    /// <summary>CUDA's devices, then OpenCL's; none where a driver is missing.</summary>
    public static IReadOnlyList<ComputeDevice> Gpus()
    {
        LibraryNames.Resolve();
        using var context = Context.Create(builder => builder.Cuda());
        return
        [
            .. context.Devices.Where(d => d.AcceleratorType == AcceleratorType.Cuda).Select((d, i) => Describe(DeviceKind.Cuda, i, d)),
            .. OpenClDevices.Usable.Select((d, i) => Describe(DeviceKind.OpenCl, i, d)),
        ];
    }

    private static ComputeDevice Describe(DeviceKind kind, int index, ILGPU.Runtime.Device device) =>
        new(kind, index, device.Name.Trim(), device.MemorySize, device.NumMultiprocessors);

    private static string ProcessorName()
    {
        // ILGPU calls every processor "CPUAccelerator".
        var line = File.Exists(ProcessorInformation)
            ? File.ReadLines(ProcessorInformation).FirstOrDefault(l => l.StartsWith("model name", StringComparison.Ordinal))
            : null;
        return line?[(line.IndexOf(':', StringComparison.Ordinal) + 1)..].Trim() ?? $"{RuntimeInformation.ProcessArchitecture} processor";
    }
}
