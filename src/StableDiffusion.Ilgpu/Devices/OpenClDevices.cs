using System.Reflection;
using ILGPU.Backends.OpenCL;
using ILGPU.Runtime.OpenCL;

namespace StableDiffusion.Ilgpu.Devices;

/// <summary>
/// The OpenCL devices of this machine. ILGPU refuses those without a generic address space (OpenCL 1.2, many 3.0 drivers), because a pointer
/// of its code may point to any kind of memory. Kernels of ours need none: they use no atomics, no shared memory of dynamic size and no pointer
/// that may be shared or global. So such a device is told to have it.
/// </summary>
internal static class OpenClDevices
{
    private const int MostOnPlatform = 64;

    /// <summary>ILGPU checks this before it opens a device; the setter is not public, and another version may have none.</summary>
    private static readonly PropertyInfo? GenericAddressSpace = FindGenericAddressSpace();

    private static readonly Lazy<Found> Search = new(Look);

    /// <summary>Those that can be opened, in the order of the platforms.</summary>
    public static IReadOnlyList<CLDevice> Usable => Search.Value.Usable;

    /// <summary>A line for each one that cannot be opened, with the reason.</summary>
    public static IReadOnlyList<string> LeftOut => Search.Value.LeftOut;

    /// <summary>Whether a device was told to have a generic address space.</summary>
    public static bool IsOverridden(CLDevice device) => Search.Value.Overridden.Contains(device);

    private static Found Look()
    {
        LibraryNames.Resolve();
        var found = new Found([], [], []);
        foreach (var platform in Platforms())
        {
            foreach (var id in Devices(platform))
            {
                Sort(platform, id, found);
            }
        }

        return found;
    }

    private static void Sort(nint platform, nint id, Found found)
    {
        CLDevice device;
        try
        {
            device = new CLDevice(platform, id);
        }
        catch (CLException e)
        {
            found.LeftOut.Add($"an OpenCL device of platform {CLAPI.CurrentAPI.GetPlatformInfo(platform, CLPlatformInfoType.CL_PLATFORM_NAME)}: {e.Message}");
            return;
        }

        if (Refusal(device) is { } reason)
        {
            found.LeftOut.Add($"{device.Name.Trim()}: {reason}");
            return;
        }

        if (!device.Capabilities.GenericAddressSpace)
        {
            GenericAddressSpace!.SetValue(device.Capabilities, true);
            found.Overridden.Add(device);
        }

        found.Usable.Add(device);
    }

    private static string? Refusal(CLDevice device) =>
        device.GetDeviceInfo<int>(CLDeviceInfoType.CL_DEVICE_AVAILABLE) == 0 ? "its driver says that it is not available"
        : device.GetDeviceInfo<int>(CLDeviceInfoType.CL_DEVICE_COMPILER_AVAILABLE) == 0 ? "its driver has no compiler"
        : device.GetDeviceInfo<int>(CLDeviceInfoType.CL_DEVICE_ADDRESS_BITS) != 64 ? "it has addresses of less than 64 bits"
        : device.CLStdVersion < CLCVersion.CL12 ? $"it compiles OpenCL C {device.CLStdVersion}, and 1.2 is needed"
        : !device.Capabilities.GenericAddressSpace && GenericAddressSpace is null
            ? "it has no generic address space, and this version of ILGPU cannot be told to do without" : null;

    private static nint[] Platforms()
    {
        var api = CLAPI.CurrentAPI;
        if (!api.IsSupported || api.GetNumPlatforms(out var count) != CLError.CL_SUCCESS || count < 1)
        {
            return [];
        }

        var platforms = new nint[count];
        return api.GetPlatforms(platforms, ref count) == CLError.CL_SUCCESS ? platforms : [];
    }

    private static nint[] Devices(nint platform)
    {
        var devices = new nint[MostOnPlatform];
        return CLAPI.CurrentAPI.GetDevices(platform, CLDeviceType.CL_DEVICE_TYPE_ALL, devices, out var count) == CLError.CL_SUCCESS
            ? devices[..Math.Min(count, MostOnPlatform)] : [];
    }

    private static PropertyInfo? FindGenericAddressSpace()
    {
        var property = typeof(CLCapabilityContext).GetProperty("GenericAddressSpace");
        return property?.PropertyType == typeof(bool) && property.CanWrite ? property : null;
    }

    private sealed record Found(List<CLDevice> Usable, List<string> LeftOut, HashSet<CLDevice> Overridden);
}
