using System.Text.RegularExpressions;
using ILGPU.Runtime.Cuda;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>
/// What contractions are cut for and their kernels chosen by, of each multiprocessor. Hopper's cycles are as measured. The others' products are those that NVIDIA's
/// papers on its architectures give; their cycles for a line are assumed, more than their caches' bandwidths would take with nothing in the way.
/// </summary>
/// <param name="Loop">How groups multiply.</param>
/// <param name="Products">fp16 products with fp32 sums, in a cycle.</param>
/// <param name="LineCycles">Cycles for each line of 128 bytes that is copied to shared memory.</param>
/// <param name="SharedBytes">Of shared memory.</param>
internal sealed partial record TensorCores(TensorLoopKind Loop, int Products, double LineCycles, int SharedBytes)
{
    /// <summary>What the driver takes of the shared memory for each group, since compute capability 8.0.</summary>
    public const int DriverBytes = 1024;

    /// <summary>Compute capability 9.0.</summary>
    public static readonly TensorCores Hopper = new(TensorLoopKind.Warpgroups, 1950, 2.5, 228 * 1024);

    /// <summary>8.0, and what has as much shared memory and no <c>wgmma</c>: 8.7, 10 and 11, and 9.0 where the driver does not know that.</summary>
    public static readonly TensorCores Ampere = new(TensorLoopKind.Warps, 1024, 4, 164 * 1024);

    /// <summary>8.6, 8.9, 12.0 and their like.</summary>
    public static readonly TensorCores SmallAmpere = new(TensorLoopKind.ShortWarps, 512, 10, 100 * 1024);

    /// <summary>7.5.</summary>
    public static readonly TensorCores Turing = new(TensorLoopKind.TuringWarps, 512, 10, 64 * 1024);

    public bool Warpgroups => Loop == TensorLoopKind.Warpgroups;

    /// <returns>Null where there are none, or none that the kernels can use.</returns>
    /// <param name="architecture">The device's. Of those that come after these nobody knows: they are taken for the ones that have least.</param>
    /// <param name="name">The device's.</param>
    /// <param name="warpgroups">Whether driver and ILGPU have what <c>wgmma</c> takes. Only Hopper has it, neither older nor newer GPUs.</param>
    public static TensorCores? Of(CudaArchitecture architecture, string name, bool warpgroups) => (architecture.Major, architecture.Minor) switch
    {
        ( < 7, _) or (7, < 5) => null,
        (7, _) => TuringName().IsMatch(name) ? Turing.As(name) : null,
        (9, 0) when warpgroups => Hopper,
        (8, 0 or 7) or (9 or 10 or 11, _) => Ampere,
        _ => SmallAmpere.As(name),
    };

    /// <summary>What a group may have of a multiprocessor's shared memory that it shares with others.</summary>
    public int GroupBytes(int groups) => (SharedBytes / groups) - (Loop == TensorLoopKind.TuringWarps ? 0 : DriverBytes);

    /// <summary>GeForce cards have half of the products of other cards with the same compute capability.</summary>
    private TensorCores As(string name) => name.Contains("GeForce", StringComparison.Ordinal) ? this with { Products = Products / 2 } : this;

    /// <summary>Of compute capability 7.5 the smaller ones (GTX 16, T400 to T2000, MX) have none, and take the instructions all the same.</summary>
    [GeneratedRegex(@"RTX|\bT(4|4G|10|40)\b")]
    private static partial Regex TuringName();
}

/// <summary>How a device's groups multiply: an <see cref="ITensorLoop"/> or several.</summary>
internal enum TensorLoopKind
{
    /// <summary><see cref="TuringLoop"/>.</summary>
    TuringWarps,

    /// <summary><see cref="ShortWarpLoop"/>.</summary>
    ShortWarps,

    /// <summary><see cref="WarpLoop"/>.</summary>
    Warps,

    /// <summary><see cref="WarpgroupLoop"/>, <see cref="DeepWarpgroupLoop"/> and <see cref="SpanLoop"/>.</summary>
    Warpgroups,
}
