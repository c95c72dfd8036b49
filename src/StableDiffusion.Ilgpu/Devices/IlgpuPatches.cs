using System.Reflection;
using System.Runtime.InteropServices;
using ILGPU;
using ILGPU.Runtime.OpenCL;

namespace StableDiffusion.Ilgpu.Devices;

/// <summary>What ILGPU is told from outside so that it finds more drivers and uses more devices than by itself.</summary>
internal static class IlgpuPatches
{
    private static readonly Lock Gate = new();

    private static readonly PropertyInfo? GenericAddressSpace = FindFlag(typeof(CLCapabilityContext));

    private static bool resolved;

    /// <summary>
    /// Whether devices can be used that have no generic address space. ILGPU refuses them, because a pointer of its code may point to any kind
    /// of memory. Kernels of this library need none: they use no atomics, no shared memory of dynamic size, and no pointer that may be to
    /// shared or to global memory. If an ILGPU version has other internals, only the devices that it accepts are used.
    /// </summary>
    public static bool CanGrantGenericAddressSpace => GenericAddressSpace is not null;

    /// <summary>
    /// ILGPU asks for drivers by names that only development packages provide (<c>libcuda.so</c>, <c>libOpenCL.so</c>); the drivers
    /// themselves bring the versioned ones, and macOS has a framework. Must run before anything of ILGPU looks for GPUs.
    /// </summary>
    public static void ResolveLibraryNames()
    {
        lock (Gate)
        {
            if (!resolved)
            {
                resolved = true;
                try
                {
                    NativeLibrary.SetDllImportResolver(typeof(Context).Assembly, (name, _, _) => name switch
                    {
                        "cuda" => Load(GpuProbe.CudaName),
                        "OpenCL" => Load(GpuProbe.OpenClName),
                        _ => 0,
                    });
                }
                catch (InvalidOperationException)
                {
                    // The application has set one of its own, which then finds the libraries, or the runtime does.
                }
            }
        }
    }

    /// <summary>Makes ILGPU open a device without a generic address space. Only where <see cref="CanGrantGenericAddressSpace"/>.</summary>
    public static void GrantGenericAddressSpace(CLDevice device) => GenericAddressSpace!.SetValue(device.Capabilities, true);

    /// <summary>The flag that ILGPU looks at before it opens a device; null if this type has none that can be set.</summary>
    internal static PropertyInfo? FindFlag(Type capabilities)
    {
        var property = capabilities.GetProperty(nameof(CLCapabilityContext.GenericAddressSpace));
        return property?.PropertyType == typeof(bool) && property.CanWrite ? property : null;
    }

    /// <summary>Zero leaves the search to the runtime.</summary>
    private static nint Load(string name) => NativeLibrary.TryLoad(name, out var handle) ? handle : 0;
}
