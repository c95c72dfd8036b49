using StableDiffusion.Ilgpu.Devices;

namespace StableDiffusion.Ilgpu;

/// <summary>The kinds of accelerator that ILGPU reaches.</summary>
public enum DeviceKind
{
    /// <summary>The processor itself.</summary>
    Cpu,

    /// <summary>An NVIDIA GPU.</summary>
    Cuda,

    /// <summary>A device reached through OpenCL.</summary>
    OpenCl,
}

/// <summary>An accelerator of this machine.</summary>
public sealed class ComputeDevice
{
    internal ComputeDevice(DeviceKind kind, int index, string name, long memoryBytes, int computeUnits) =>
        (Kind, Index, Name, MemoryBytes, ComputeUnits) = (kind, index, name, memoryBytes, computeUnits);

    /// <summary>Every accelerator that ILGPU finds, the default one first.</summary>
    public static IReadOnlyList<ComputeDevice> All => Others.AllDevices;

    /// <summary>The device that is used when none is named: the processor.</summary>
    public static ComputeDevice Default { get; } = DeviceList.Cpu();

    /// <summary>What drives it.</summary>
    public DeviceKind Kind { get; }

    /// <summary>Index among the devices of its kind, from 0.</summary>
    public int Index { get; }

    /// <summary>The name that the device gives itself.</summary>
    public string Name { get; }

    /// <summary>Memory in bytes.</summary>
    public long MemoryBytes { get; }

    /// <summary>Processors, multiprocessors or compute units.</summary>
    public int ComputeUnits { get; }

    /// <summary>True for the device that is used when none is named.</summary>
    public bool IsDefault => this == Default;

    /// <summary>The short form that <see cref="Find"/> takes, for example <c>cpu</c> or <c>cuda:0</c>.</summary>
    public string Id => Kind == DeviceKind.Cpu ? KindName : $"{KindName}:{Index}";

    private string KindName => Kind switch
    {
        DeviceKind.Cuda => "cuda",
        DeviceKind.OpenCl => "opencl",
        _ => "cpu",
    };

    /// <summary>Finds a device by <c>auto</c>, kind (<c>cpu</c>), kind and index (<c>cuda:0</c>) or name.</summary>
    /// <exception cref="StableDiffusionException">There is no such device; the message lists those there are.</exception>
    public static ComputeDevice Find(string text)
    {
        // Looking for GPUs loads their drivers: not done for a name that needs none.
        ArgumentNullException.ThrowIfNull(text);
        return string.Equals(text, "auto", StringComparison.OrdinalIgnoreCase) || Default.IsCalled(text) ? Default
            : All.FirstOrDefault(d => d.IsCalled(text))
            ?? throw new StableDiffusionException($"no device '{text}'; valid: auto, {string.Join(", ", All.Select(d => d.Id))}");
    }

    private bool IsCalled(string text) =>
        new[] { Id, Name, $"{KindName}:{Index}", Index == 0 ? KindName : Id }.Contains(text, StringComparer.OrdinalIgnoreCase);

    /// <summary>Name and short form.</summary>
    public override string ToString() => $"{Name} ({Id})";

    /// <summary>Initialised when first used: looking for GPUs loads their drivers.</summary>
    private static class Others
    {
        public static readonly IReadOnlyList<ComputeDevice> AllDevices = [Default, .. DeviceList.Gpus()];
    }
}
