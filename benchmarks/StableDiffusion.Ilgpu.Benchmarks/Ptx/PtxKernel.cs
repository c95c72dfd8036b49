using System.Text.RegularExpressions;
using ILGPU.Runtime.Cuda;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

namespace StableDiffusion.Ilgpu.Benchmarks.Ptx;

/// <summary>A kernel as NVIDIA's driver gets it.</summary>
/// <param name="Architecture">That it is for.</param>
/// <param name="Name">The kernel's, in its set.</param>
/// <param name="GroupSize">The most work-items of a group that it was compiled for; 0 where that was left open.</param>
/// <param name="Groups">That are to fit a multiprocessor at the same time; 0 where that was left open.</param>
/// <param name="DynamicBytes">Shared memory that its launches ask for.</param>
/// <param name="Text">PTX.</param>
internal sealed partial record PtxKernel(CudaArchitecture Architecture, string Name, int GroupSize, int Groups, int DynamicBytes, string Text)
{
    /// <summary>The name of the kernels that measure the tensor cores.</summary>
    public const string PeakName = "tensor peak";

    /// <summary>Of a GPU that has tensor cores if its architecture can have them.</summary>
    private const string NameWithCores = "RTX";

    /// <summary>What a group may have of shared memory on any GPU.</summary>
    private const int MostOrdinarySharedBytes = 48 * 1024;

    /// <summary>Whether the kernel multiplies on tensor cores.</summary>
    public bool HasTensorCode => TensorInstruction().IsMatch(Text);

    /// <summary>Whether it needs what Hopper alone has.</summary>
    public bool UsesWarpgroups => Text.Contains("wgmma.", StringComparison.Ordinal);

    /// <summary>Shared memory of a group, of fixed and of dynamic size.</summary>
    public int SharedBytes => DynamicBytes + SharedArray().Matches(Text)
        .Sum(m => int.Parse(m.Groups["bits"].ValueSpan) / 8 * int.Parse(m.Groups["count"].ValueSpan));

    /// <summary>The loop that the tensor cores' time goes into; null where no loop has any of their instructions.</summary>
    public CodeLoop? MainLoop => CodeListing.FromPtx(Text).HottestLoop(IsTensorInstruction);

    /// <summary>What no kernel of this library may have, and what a tensor-core kernel must have, a line each.</summary>
    public IEnumerable<string> Problems()
    {
        if (Text.Contains(".local", StringComparison.Ordinal))
        {
            yield return "keeps values in local memory, not in registers (.local)";
        }

        if (Text.Contains(".f64", StringComparison.Ordinal))
        {
            yield return "computes in fp64 (.f64)";
        }

        if (TooNew(Architecture, Text) is { } instruction)
        {
            yield return $"has {instruction}, which its architecture does not know";
        }

        var cores = TensorCores.Of(Architecture, NameWithCores, UsesWarpgroups);
        var most = cores is null ? MostOrdinarySharedBytes : cores.GroupBytes(Math.Max(1, Groups));
        if (SharedBytes > most)
        {
            yield return $"needs {SharedBytes} bytes of shared memory; valid: at most {most}{(cores is null || Groups < 2 ? "" : $", so that {Groups} groups fit a multiprocessor")}";
        }

        if (!HasTensorCode)
        {
            yield break;
        }

        // What measures the tensor cores alone reads nothing.
        string[] reads = Name == PeakName ? [] : [cores is { Loop: TensorLoopKind.TuringWarps } ? "ld.global.v4" : "cp.async", UsesWarpgroups ? "fence.proxy.async" : "ldmatrix"];
        foreach (var needed in reads.Where(i => !Text.Contains(i, StringComparison.Ordinal)))
        {
            yield return $"multiplies on tensor cores and has no {needed}";
        }

        if (MainLoop is null)
        {
            yield return "multiplies on tensor cores, but in no loop";
        }
    }

    /// <summary>An instruction of a text that a GPU of this architecture does not know; null if it knows all.</summary>
    public static string? TooNew(CudaArchitecture architecture, string text)
    {
        var newer = TensorCores.Of(architecture, NameWithCores, warpgroups: false) switch
        {
            null => NewerThanVolta().Match(text),
            { Loop: TensorLoopKind.TuringWarps } => NewerThanTuring().Match(text),
            _ => Match.Empty,
        };
        return newer.Success ? newer.Value : null;
    }

    /// <summary>Whether PTX or machine code is an instruction of the tensor cores.</summary>
    public static bool IsTensorInstruction(string instruction) => TensorInstruction().IsMatch(instruction);

    /// <summary>PTX (<c>mma.sync</c>, <c>wgmma.mma_async</c>) or machine code (<c>HMMA</c>, <c>HGMMA</c>).</summary>
    [GeneratedRegex(@"\bw?g?mma\.(sync|mma_async)|\bHG?MMA\b")]
    private static partial Regex TensorInstruction();

    /// <summary>What came with compute capability 7.5 or 8.0.</summary>
    [GeneratedRegex(@"\b(cp\.async|mma\.sync|ldmatrix|cvt\.rn\.f16x2)")]
    private static partial Regex NewerThanVolta();

    /// <summary>What came with compute capability 8.0.</summary>
    [GeneratedRegex(@"\b(cp\.async|mma\.sync\.aligned\.m16n8k16|cvt\.rn\.f16x2)")]
    private static partial Regex NewerThanTuring();

    /// <summary>Declarations such as <c>.shared .align 16 .b8 name[4352];</c>.</summary>
    [GeneratedRegex(@"\.shared\s+\.align\s+\d+\s+\.b(?<bits>\d+)\s+\w+\[(?<count>\d+)\]")]
    private static partial Regex SharedArray();
}
