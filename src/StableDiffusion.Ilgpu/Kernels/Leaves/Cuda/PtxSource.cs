using System.Reflection;
using ILGPU.Backends.PTX;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>PTX as ILGPU writes it, and what is put right in it before a driver gets it: names, the target of what only one architecture has, and what 7.5 has not.</summary>
internal static class PtxSource
{
    /// <summary>The field behind <see cref="PTXCompiledKernel.PTXAssembly"/>, which can only be read.</summary>
    private const string AssemblyField = "<PTXAssembly>k__BackingField";

    /// <summary>The last line before the first name.</summary>
    private const string EndOfHead = ".address_size";

    /// <summary>Whether this version of ILGPU lets the text be changed.</summary>
    public static bool CanComplete { get; } = Field is not null;

    private static FieldInfo? Field => typeof(PTXCompiledKernel).GetField(AssemblyField, BindingFlags.Instance | BindingFlags.NonPublic);

    /// <summary>All of it, in place. If an ILGPU version has other internals, the text stays as it is.</summary>
    public static void Complete(PTXCompiledKernel kernel) => Field?.SetValue(kernel, Complete(kernel.PTXAssembly));

    /// <summary>The same with a text.</summary>
    public static string Complete(string ptx)
    {
        var names = ptx.IndexOf(EndOfHead, StringComparison.Ordinal);
        if (names < 0)
        {
            return ptx;
        }

        var (head, body) = (ptx[..names], SourceNames.Canonical(ptx[names..]));
        return head.Contains(".target sm_75", StringComparison.Ordinal) ? head + TuringPtx.Lower(body) : Head(head, body.Contains("wgmma.", StringComparison.Ordinal)) + body;
    }

    /// <summary>
    /// ILGPU compiles for the oldest architecture that has what it knows of; what only one architecture has needs that one's own target, <c>sm_90a</c>,
    /// and the first version of PTX that knows it where an older one is named.
    /// </summary>
    private static string Head(string head, bool hasWarpgroups) => !hasWarpgroups ? head : string.Join('\n', head.Split('\n').Select(line => line.Trim() switch
    {
        var trimmed when trimmed.StartsWith(".target", StringComparison.Ordinal) => ".target sm_90a",
        var trimmed when trimmed.StartsWith(".version 7.", StringComparison.Ordinal) => ".version 8.0",
        _ => line,
    }));
}
