using System.Runtime.CompilerServices;
using ILGPU.Runtime.OpenCL;

namespace StableDiffusion.Ilgpu.Devices;

/// <summary>The instructions by which OpenCL's GPUs multiply matrices.</summary>
internal enum MatrixInstructions
{
    None,

    /// <summary>Intel's, for sub-groups of 8: Arc's first generation.</summary>
    Intel8,

    /// <summary>Intel's, for sub-groups of 16.</summary>
    Intel16,

    /// <summary>AMD's RDNA 3.</summary>
    Rdna3,

    /// <summary>AMD's RDNA 4.</summary>
    Rdna4,

    /// <summary>AMD's GPUs for data centres.</summary>
    Cdna,

    /// <summary>AMD's products of two fp16 values each, of RDNA 2 and others.</summary>
    AmdDot,
}

/// <summary>Which GPU has which, by what its driver says.</summary>
internal static class MatrixInstructionsOf
{
    private const CLDeviceInfoType SubGroupSizes = (CLDeviceInfoType)0x4108;

    private static readonly string[] IntelExtensions =
        ["cl_intel_subgroup_matrix_multiply_accumulate", "cl_intel_subgroup_local_block_io", "cl_intel_required_subgroup_size"];

    /// <summary>A way around them where a driver says that it has them and then hangs: set to <c>off</c>, no device has any.</summary>
    public const string Switch = "SDILGPU_MATRIX_UNITS";

    public static MatrixInstructions Device(CLDevice device) =>
        Environment.GetEnvironmentVariable(Switch) == "off" || !device.DeviceType.HasFlag(CLDeviceType.CL_DEVICE_TYPE_GPU) ? MatrixInstructions.None
        : IntelExtensions.All(device.Extensions.Contains) ? Intel(SmallestSubGroup(device))
        : device.PlatformName.StartsWith("AMD", StringComparison.Ordinal) ? Amd(device.Name.Trim()) : MatrixInstructions.None;

    /// <summary>By the fewest work-items of a sub-group that Intel's driver compiles for.</summary>
    public static MatrixInstructions Intel(long subGroup) => subGroup switch
    {
        8 => MatrixInstructions.Intel8,
        16 => MatrixInstructions.Intel16,
        _ => MatrixInstructions.None,
    };

    /// <summary>By the name that AMD's own driver and compiler have for a GPU: Mesa's has others, and cannot compile these instructions.</summary>
    public static MatrixInstructions Amd(string name) => name.Split(':')[0] switch
    {
        "gfx908" or "gfx90a" or "gfx940" or "gfx941" or "gfx942" or "gfx950" => MatrixInstructions.Cdna,
        "gfx906" or "gfx1011" or "gfx1012" => MatrixInstructions.AmdDot,
        { Length: 7 } gpu when gpu.StartsWith("gfx103", StringComparison.Ordinal) => MatrixInstructions.AmdDot,
        { Length: 7 } gpu when gpu.StartsWith("gfx11", StringComparison.Ordinal) => MatrixInstructions.Rdna3,
        { Length: 7 } gpu when gpu.StartsWith("gfx12", StringComparison.Ordinal) => MatrixInstructions.Rdna4,
        _ => MatrixInstructions.None,
    };

    private static long SmallestSubGroup(CLDevice device)
    {
        var smallest = 0L;
        if (device.GetDeviceInfo<Sizes>(SubGroupSizes, out var sizes) == CLError.CL_SUCCESS)
        {
            foreach (var size in sizes)
            {
                smallest = size > 0 && (smallest == 0 || size < smallest) ? size : smallest;
            }
        }

        return smallest;
    }

    /// <summary>More than any driver has; what it leaves is zero.</summary>
    [InlineArray(16)]
    private struct Sizes
    {
        private long first;
    }
}
