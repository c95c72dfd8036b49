using System.Runtime.Intrinsics;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>A device, its kernels, and the type that activations and weights are stored as. Tests name it by its text.</summary>
internal sealed record Backend(LeafKind Leaf, bool Half)
{
    /// <summary>Multiplications and additions of a case that is interpreted within about a second.</summary>
    public const double InterpretedFlops = 2e7;

    /// <summary>The environment variable that chooses some of them.</summary>
    public const string WantedVariable = "SD_TEST_BACKENDS";

    private static readonly LeafKind[] Processor = [LeafKind.Simd512, LeafKind.Simd256, LeafKind.Simd128, LeafKind.Portable];

    private static readonly LeafKind[] OpenCl = [LeafKind.Vector, LeafKind.WideVector, LeafKind.Gpu, LeafKind.Portable];

    public ComputeDevice Device { get; init; } = ComputeDevice.Processor;

    /// <summary>Its GPU kernels are interpreted, from the PTX that an NVIDIA GPU would run, on the processor's memory.</summary>
    public bool IsInterpreted { get; init; }

    /// <summary>What this machine can run; the processor's fastest leaf first.</summary>
    public static IReadOnlyList<Backend> All { get; } =
    [
        .. Processor.Where(leaf => Missing(leaf) is null).SelectMany(leaf => BothTypes(leaf, ComputeDevice.Processor)),
        .. ComputeDevice.All.Where(d => d.Kind == DeviceKind.Cuda).SelectMany(OfCuda),
        .. ComputeDevice.All.Where(d => d.Kind == DeviceKind.OpenCl).SelectMany(OfOpenCl),
    ];

    /// <summary>What any machine can interpret: much too slow for whole models.</summary>
    public static IReadOnlyList<Backend> Interpreted { get; } =
        [.. new[] { LeafKind.Gpu, LeafKind.Tensor }.Select(leaf => new Backend(leaf, Half: true) { IsInterpreted = true })];

    /// <summary>What this machine lacks, with the reason.</summary>
    public static IReadOnlyList<string> LeftOut { get; } =
    [
        .. Processor.Where(leaf => Missing(leaf) is not null).Select(leaf => $"leaf {leaf}: {Missing(leaf)}"),
        .. All.Any(b => b.Device.Kind == DeviceKind.OpenCl) ? Array.Empty<string>()
            : ["OpenCL: no device; a driver, for example the package pocl-opencl-icd, would give one"],
    ];

    /// <summary>For theories.</summary>
    public static IEnumerable<string> Names => Wanted.Select(b => b.ToString());

    /// <summary>What users get on each device, with both types.</summary>
    public static IEnumerable<string> BestNames =>
        Wanted.Where(b => b.Leaf == BackendProfile.LeafOf(b.Device)).Select(b => b.ToString());

    public string StorageName => Half ? "fp16" : "fp32";

    public static Backend Find(string name) => All.Concat(Interpreted).Single(b => b.ToString() == name);

    public override string ToString() => IsInterpreted ? $"ptx {Leaf} {StorageName}" : Device.Kind == DeviceKind.Cpu ? $"{Leaf} {StorageName}" : $"{Device.Id} {Leaf} {StorageName}";

    /// <summary>Where time is short, SD_TEST_BACKENDS leaves theories those backends alone whose device or name contains it.</summary>
    private static Backend[] Wanted
    {
        get
        {
            var wanted = Environment.GetEnvironmentVariable(WantedVariable) ?? "";
            Backend[] backends = [.. All.Where(b => $"{b.Device.Id} {b}".Contains(wanted, StringComparison.OrdinalIgnoreCase))];
            return backends.Length > 0 ? backends : throw new InvalidOperationException(
                $"{WantedVariable} is '{wanted}', which none of the backends here contains: {string.Join(", ", All.Select(b => $"{b.Device.Id} {b}"))}");
        }
    }

    /// <summary>Tensor cores only take fp16: with fp32 storage, their backend has the kernels of any GPU.</summary>
    private static Backend[] OfCuda(ComputeDevice device) => BackendProfile.LeafOf(device) == LeafKind.Tensor
        ? [new Backend(LeafKind.Gpu, Half: true) { Device = device }, .. BothTypes(LeafKind.Tensor, device)] : BothTypes(LeafKind.Gpu, device);

    /// <summary>Matrix units only take fp16.</summary>
    private static IEnumerable<Backend> OfOpenCl(ComputeDevice device) =>
    [
        .. BackendProfile.LeafOf(device) == LeafKind.Matrix ? [new Backend(LeafKind.Matrix, Half: true) { Device = device }] : Array.Empty<Backend>(),
        .. OpenCl.SelectMany(leaf => BothTypes(leaf, device)),
    ];

    private static Backend[] BothTypes(LeafKind leaf, ComputeDevice device) =>
        [new Backend(leaf, Half: true) { Device = device }, new Backend(leaf, Half: false) { Device = device }];

    private static string? Missing(LeafKind leaf) => leaf switch
    {
        LeafKind.Simd512 when ProcessorVectors.Bits < 512 => Reason(512, Vector512.IsHardwareAccelerated),
        LeafKind.Simd256 when ProcessorVectors.Bits < 256 => Reason(256, Vector256.IsHardwareAccelerated),
        _ => null,
    };

    private static string Reason(int bits, bool accelerated) =>
        $"this processor, or the runtime's settings, give no {bits}-bit registers (accelerated: {accelerated}, widest used: {ProcessorVectors.Bits})";
}
