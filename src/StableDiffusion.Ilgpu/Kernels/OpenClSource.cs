using System.Reflection;
using System.Text.RegularExpressions;
using ILGPU.Backends.OpenCL;

namespace StableDiffusion.Ilgpu.Kernels;

/// <summary>
/// OpenCL C as ILGPU writes it, and what is put right in it before a driver gets it: names, barriers, the alignment of local memory, and text that has no place in
/// the middle of a kernel.
/// </summary>
internal static partial class OpenClSource
{
    private static readonly FieldInfo? Source = FindSource(typeof(CLCompiledKernel));

    private const string BeforeKernelBegin = "// before the kernel:";

    private const string BeforeKernelEnd = "// end";

    /// <summary>Whether kernels may have text before them: ILGPU has no place for any.</summary>
    public static bool CanComplete => Source is not null;

    /// <summary>All of it, in place. If an ILGPU version has other internals, the text stays as it is.</summary>
    public static void Prepare(CLCompiledKernel kernel) =>
        Source?.SetValue(kernel, Complete(WithAlignedArrays(WithLocalBarriers(SourceNames.Canonical(WithOneLineEnd(kernel.Source))))));

    /// <summary>ILGPU ends lines as the system does: drivers, and what is changed below, get the same text everywhere.</summary>
    public static string WithOneLineEnd(string source) => source.Replace("\r\n", "\n", StringComparison.Ordinal);

    /// <summary>
    /// ILGPU's barriers order a group's global memory alone. The work-items of our kernels tell each other nothing but by local memory: which a barrier has to
    /// be told, and global memory need not wait. They are also written by the name that OpenCL C has had since 2.0 alone.
    /// </summary>
    public static string WithLocalBarriers(string source) =>
        GlobalBarrier().Replace(source, "barrier(CLK_LOCAL_MEM_FENCE)");

    /// <summary>
    /// ILGPU's structs are as aligned as their fields, and compilers move one of four values in pieces; where arrays of local memory begin at multiples of 16
    /// bytes, they move it at once.
    /// </summary>
    public static string WithAlignedArrays(string source) => LocalArray().Replace(source, "$0 __attribute__((aligned(16)))");

    /// <summary>Text for the middle of a kernel, which <see cref="Complete"/> puts before it.</summary>
    /// <param name="text">Lines of definitions.</param>
    /// <param name="attributes">Of the kernel, in one line.</param>
    public static string BeforeKernel(string text, string attributes) => $"\n{BeforeKernelBegin}{attributes}\n{text}{BeforeKernelEnd}\n";

    /// <summary>Moves what stands in a kernel and belongs before it.</summary>
    public static string Complete(string source)
    {
        var start = source.IndexOf(BeforeKernelBegin, StringComparison.Ordinal);
        if (start < 0)
        {
            return source;
        }

        var end = source.IndexOf(BeforeKernelEnd, start, StringComparison.Ordinal);
        var moved = source[(start + BeforeKernelBegin.Length)..end];
        var firstLine = moved.IndexOf('\n', StringComparison.Ordinal);
        var rest = source[..start] + source[(end + BeforeKernelEnd.Length)..];
        var kernel = KernelStart().Match(rest).Index;
        return $"{rest[..kernel]}{moved[(firstLine + 1)..]}{moved[..firstLine]}\n{rest[kernel..]}";
    }

    /// <summary>The field behind <see cref="CLCompiledKernel.Source"/>; null if there is none.</summary>
    internal static FieldInfo? FindSource(Type kernel) =>
        kernel.GetField($"<{nameof(CLCompiledKernel.Source)}>k__BackingField", BindingFlags.Instance | BindingFlags.NonPublic) is { } field
        && field.FieldType == typeof(string) ? field : null;

    [GeneratedRegex(@"^kernel\s", RegexOptions.Multiline)]
    private static partial Regex KernelStart();

    [GeneratedRegex(@"\b(work_group_)?barrier \( CLK_GLOBAL_MEM_FENCE \)", RegexOptions.ExplicitCapture)]
    private static partial Regex GlobalBarrier();

    [GeneratedRegex(@"^\s*local [\w ]+\[[0-9]+\]", RegexOptions.Multiline)]
    private static partial Regex LocalArray();
}
