using System.Reflection;
using StableDiffusion.Ilgpu.Kernels;

namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary>All kernels of a set, for looking at them.</summary>
internal static class KernelSets
{
    /// <summary>Compiles every kernel that the set has whatever the sizes, and those that most models choose.</summary>
    public static void CompileAll(this KernelSet<ushort> kernels)
    {
        kernels.Warm(CancellationToken.None);
        foreach (var property in kernels.GetType().GetProperties(BindingFlags.Public | BindingFlags.Instance).Where(IsLauncher))
        {
            property.GetValue(kernels);
        }

        static bool IsLauncher(PropertyInfo property) =>
            property.PropertyType is { IsGenericType: true } type && type.GetGenericTypeDefinition() == typeof(Launcher<>);
    }
}
