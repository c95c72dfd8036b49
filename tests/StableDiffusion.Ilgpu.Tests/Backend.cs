using System.Runtime.Intrinsics;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>A leaf and the type that activations and weights are stored as. Tests name it by its text.</summary>
internal sealed record Backend(LeafKind Leaf, bool Half)
{
    /// <summary>What this machine can run; the fastest leaf first.</summary>
    public static IReadOnlyList<Backend> All { get; } =
        [.. Enum.GetValues<LeafKind>().Where(leaf => Missing(leaf) is null).Reverse()
            .SelectMany(leaf => new[] { true, false }, (l, half) => new Backend(l, half))];

    /// <summary>The leaves that this machine lacks, with the reason.</summary>
    public static IReadOnlyList<string> LeftOut { get; } =
        [.. Enum.GetValues<LeafKind>().Where(leaf => Missing(leaf) is not null).Select(leaf => $"{leaf}: {Missing(leaf)}")];

    /// <summary>For theories.</summary>
    public static IEnumerable<string> Names => All.Select(b => b.ToString());

    /// <summary>The leaf that users get, with both types.</summary>
    public static IEnumerable<string> BestNames => All.Where(b => b.Leaf == BackendProfile.Best).Select(b => b.ToString());

    public string StorageName => Half ? "fp16" : "fp32";

    public static Backend Find(string name) => All.Single(b => b.ToString() == name);

    public override string ToString() => $"{Leaf} {StorageName}";

    private static string? Missing(LeafKind leaf) => leaf switch
    {
        LeafKind.Simd512 when CpuSimd.Width < 512 => Reason(512, Vector512.IsHardwareAccelerated),
        LeafKind.Simd256 when CpuSimd.Width < 256 => Reason(256, Vector256.IsHardwareAccelerated),
        _ => null,
    };

    private static string Reason(int bits, bool accelerated) =>
        $"this processor, or the runtime's settings, give no {bits}-bit registers (accelerated: {accelerated}, widest used: {CpuSimd.Width})";
}
