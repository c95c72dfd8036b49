namespace StableDiffusion.Ilgpu.Tests;

/// <summary>The OpenCL devices of this machine, which all tests of backends run on too.</summary>
internal static class OpenClDevices
{
    public static IReadOnlyList<ComputeDevice> All { get; } = [.. ComputeDevice.All.Where(d => d.Kind == DeviceKind.OpenCl)];

    /// <summary>Why there is none.</summary>
    public static IReadOnlyList<string> LeftOut { get; } =
        All.Count > 0 ? [] : ["OpenCL: no device found; install a driver, for example the package pocl-opencl-icd"];
}
