using System.Reflection;
using ILGPU.Backends.PTX;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>
/// ILGPU compiles for the oldest architecture that has what it knows of; what only one architecture has (<c>wgmma</c>) needs that one's own target.
/// </summary>
internal static class PtxTarget
{
    /// <summary>The field behind <see cref="PTXCompiledKernel.PTXAssembly"/>, which can only be read.</summary>
    private const string AssemblyField = "<PTXAssembly>k__BackingField";

    /// <summary>Whether this version of ILGPU lets the target be set.</summary>
    public static bool CanComplete { get; } = Field is not null;

    private static FieldInfo? Field => typeof(PTXCompiledKernel).GetField(AssemblyField, BindingFlags.Instance | BindingFlags.NonPublic);

    /// <summary>Gives a kernel with <c>wgmma</c> the target that has it.</summary>
    public static void Complete(PTXCompiledKernel kernel)
    {
        var completed = Complete(kernel.PTXAssembly);
        if (completed != kernel.PTXAssembly)
        {
            Field!.SetValue(kernel, completed);
        }
    }

    /// <summary>The same with a text: the target <c>sm_90a</c>, and the first version of PTX that knows it where an older one is named.</summary>
    public static string Complete(string ptx)
    {
        if (!ptx.Contains("wgmma.", StringComparison.Ordinal))
        {
            return ptx;
        }

        var lines = ptx.Split('\n');
        for (var i = 0; i < lines.Length && !lines[i].StartsWith(".visible", StringComparison.Ordinal); i++)
        {
            lines[i] = lines[i].Trim() switch
            {
                var line when line.StartsWith(".target", StringComparison.Ordinal) => ".target sm_90a",
                var line when line.StartsWith(".version 7.", StringComparison.Ordinal) => ".version 8.0",
                _ => lines[i],
            };
        }

        return string.Join('\n', lines);
    }
}
