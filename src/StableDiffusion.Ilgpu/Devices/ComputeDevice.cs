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
    private ComputeDevice(DeviceKind kind, int index, string name, long memoryBytes, int computeUnits) =>
        (Kind, Index, Name, MemoryBytes, ComputeUnits) = (kind, index, name, memoryBytes, computeUnits);

    /// <summary>Every accelerator that can be used, the default one first.</summary>
    public static IReadOnlyList<ComputeDevice> All { get; } =
        [new(DeviceKind.Cpu, 0, "CPU", GC.GetGCMemoryInfo().TotalAvailableMemoryBytes, Environment.ProcessorCount)];

    /// <summary>The device that is used when none is named.</summary>
    public static ComputeDevice Default => All[0];

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
    public string Id => Kind == DeviceKind.Cpu ? "cpu" : $"{Kind.ToString().ToLowerInvariant()}:{Index}";

    /// <summary>Finds a device by <c>auto</c>, kind (<c>cpu</c>), kind and index (<c>cuda:0</c>) or name.</summary>
    /// <exception cref="StableDiffusionException">There is no such device; the message lists those there are.</exception>
    public static ComputeDevice Find(string text) =>
        string.Equals(text, "auto", StringComparison.OrdinalIgnoreCase) ? Default
            : All.FirstOrDefault(d => d.Matches(text))
            ?? throw new StableDiffusionException($"no device '{text}'; valid: auto, {string.Join(", ", All.Select(d => d.Id))}");

    private bool Matches(string text) =>
        new[] { Id, Name, $"{Kind}:{Index}", Index == 0 ? Kind.ToString() : Id }.Contains(text, StringComparer.OrdinalIgnoreCase);

    /// <summary>Name and short form.</summary>
    public override string ToString() => $"{Name} ({Id})";
}
