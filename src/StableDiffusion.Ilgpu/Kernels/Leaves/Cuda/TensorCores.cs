using ILGPU.Runtime.Cuda;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>
/// What contractions are cut for and their kernels chosen by, of each multiprocessor. Hopper's cycles are as measured; the others' products are those that NVIDIA's
/// papers on its architectures give, and their cycles for a line what others have measured of the second-level cache, all multiprocessors reading.
/// </summary>
/// <param name="Products">fp16 products with fp32 sums, in a cycle.</param>
/// <param name="LineCycles">Cycles for each line of 128 bytes that is copied to shared memory.</param>
/// <param name="SharedBytes">Of shared memory, with the kilobyte that the driver takes for each group.</param>
/// <param name="Warpgroups">Whether they multiply with <c>wgmma</c>.</param>
internal readonly record struct TensorCores(int Products, double LineCycles, int SharedBytes, bool Warpgroups = false)
{
    /// <summary>The compute capability from which on GPUs have what the kernels use.</summary>
    public const int FirstMajor = 8;

    /// <summary>Compute capability 9.0.</summary>
    public static readonly TensorCores Hopper = new(1950, 2.5, 228 * 1024, Warpgroups: true);

    /// <summary>8.0, and all else that is made for data centres and has no <c>wgmma</c>: also 9.0 where the driver does not know that.</summary>
    public static readonly TensorCores Ampere = new(1024, 4, 164 * 1024);

    /// <summary>8.6, 8.9, 12.0 and their like in workstations and servers.</summary>
    public static readonly TensorCores Workstation = new(512, 10, 100 * 1024);

    /// <summary>The same under the name that players buy, with half of the products.</summary>
    public static readonly TensorCores GeForce = Workstation with { Products = 256 };

    /// <param name="architecture">8.0 or later. Of those that come after these nobody knows: they are taken for the ones that have least.</param>
    /// <param name="name">The GPU's.</param>
    /// <param name="warpgroups">Whether device, driver and ILGPU have what <c>wgmma</c> takes.</param>
    public static TensorCores Of(CudaArchitecture architecture, string name, bool warpgroups) => (architecture.Major, architecture.Minor) switch
    {
        (9, 0) when warpgroups => Hopper,
        (8, 0 or 7) or (9 or 10 or 11, _) => Ampere,
        _ => name.Contains("GeForce", StringComparison.Ordinal) ? GeForce : Workstation,
    };
}
