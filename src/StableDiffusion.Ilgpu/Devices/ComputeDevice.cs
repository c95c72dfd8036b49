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
    private const string Auto = "auto";

    internal ComputeDevice(DeviceKind kind, int index, string name, long memoryBytes, int computeUnits) =>
        (Kind, Index, Name, MemoryBytes, ComputeUnits) = (kind, index, name, memoryBytes, computeUnits);

    /// <summary>Every accelerator that can be used, the default one first.</summary>
    public static IReadOnlyList<ComputeDevice> All => DeviceList.All;

    /// <summary>
    /// The device that is used when none is named: a CUDA device, or else an OpenCL GPU, or else the processor. OpenCL drivers for processors
    /// compile kernels anew where the processor's own way does not, and are used only when they are named.
    /// </summary>
    public static ComputeDevice Default => DeviceList.Default.Device;

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

    /// <summary>The processor, without a look at GPUs: that loads their drivers.</summary>
    internal static ComputeDevice Processor => DeviceList.Processor;

    /// <summary>What cannot be used and why, a line each: kinds without a device, and devices.</summary>
    internal static IReadOnlyList<string> LeftOut => DeviceList.LeftOut;

    /// <summary>What computes behind the driver.</summary>
    internal Hardware Hardware { get; init; } = Hardware.Processor;

    /// <summary>What opens it; null for the processor.</summary>
    internal ILGPU.Runtime.Device? Driver { get; init; }

    /// <summary>What else is known of it, for people to read.</summary>
    internal IReadOnlyList<(string Name, string Value)> Details => DeviceList.Describe(this);

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
        ArgumentNullException.ThrowIfNull(text);
        return IsAuto(text) ? Default : Named(text) ?? throw new StableDiffusionException(
            $"no device '{text}'{DeviceList.MissingKind(text) ?? ""}; valid: {Auto}, {string.Join(", ", All.Select(d => d.Id))}");
    }

    /// <summary>Why <see cref="Find"/> chose the device for this text; null where the text says it.</summary>
    internal static string? ReasonFor(string text) => IsAuto(text) ? DeviceList.Default.Reason : null;

    /// <summary>Name and short form.</summary>
    public override string ToString() => $"{Name} ({Id})";

    private static bool IsAuto(string text) => string.Equals(text, Auto, StringComparison.OrdinalIgnoreCase);

    /// <summary>Drivers are loaded only as far as it takes.</summary>
    private static ComputeDevice? Named(string text) => Processor.IsCalled(text) ? Processor
        : text.StartsWith("opencl", StringComparison.OrdinalIgnoreCase) ? DeviceList.OpenCl.FirstOrDefault(d => d.IsCalled(text))
        : DeviceList.Cuda.FirstOrDefault(d => d.IsCalled(text)) ?? DeviceList.OpenCl.FirstOrDefault(d => d.IsCalled(text));

    private bool IsCalled(string text) =>
        new[] { Id, Name, $"{KindName}:{Index}", Index == 0 ? KindName : Id }.Contains(text, StringComparer.OrdinalIgnoreCase);
}
