namespace StableDiffusion.Ilgpu.Devices;

/// <summary>The device that is used when none is named.</summary>
/// <param name="Device">The device.</param>
/// <param name="Reason">Why it is that one, for people to read.</param>
internal sealed record DefaultDevice(ComputeDevice Device, string Reason)
{
    /// <summary>A CUDA device, or else an OpenCL GPU, or else the processor. What is not needed is not asked.</summary>
    /// <param name="processor">The processor.</param>
    /// <param name="cuda">CUDA's devices, and what is missing if there are none.</param>
    /// <param name="openCl">OpenCL's devices of any type, and what is missing if there are no GPUs.</param>
    public static DefaultDevice Choose(ComputeDevice processor, Func<Offer> cuda, Func<Offer> openCl)
    {
        var first = cuda();
        if (first.Devices.Count > 0)
        {
            return new DefaultDevice(first.Devices[0], "a CUDA device comes first");
        }

        var second = openCl();
        var gpu = second.Devices.FirstOrDefault(d => d.Hardware == Hardware.Gpu) ?? second.Devices.FirstOrDefault(d => d.Hardware == Hardware.IntegratedGpu);
        return gpu is not null ? new DefaultDevice(gpu, $"an OpenCL GPU, and {first.Missing}")
            : new DefaultDevice(processor, $"{first.Missing}, {second.Missing}");
    }

    /// <summary>What a driver has.</summary>
    /// <param name="Devices">Usable devices.</param>
    /// <param name="Missing">Why there is no GPU among them, if so.</param>
    internal readonly record struct Offer(IReadOnlyList<ComputeDevice> Devices, string Missing);
}
