using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;

namespace StableDiffusion.Ilgpu.Kernels;

/// <summary>A kind of matrix units: how contexts and kernels for it are made.</summary>
/// <param name="name">For people to read.</param>
internal abstract class MatrixUnit(string name)
{
    public static readonly MatrixUnit Intel8 = new MatrixUnit<IntelMatrixUnit8>("Intel's, for sub-groups of 8");

    public static readonly MatrixUnit Intel16 = new MatrixUnit<IntelMatrixUnit16>("Intel's, for sub-groups of 16");

    public static readonly MatrixUnit Amd11 = new MatrixUnit<AmdMatrixUnit11>("AMD's of RDNA 3");

    public static readonly MatrixUnit Amd12 = new MatrixUnit<AmdMatrixUnit12>("AMD's of RDNA 4");

    public static readonly MatrixUnit Amd64 = new MatrixUnit<AmdMatrixUnit64>("AMD's of CDNA");

    public override string ToString() => name;

    /// <summary>Which one AMD's driver compiles for, by the name that it gives a GPU.</summary>
    public static MatrixUnit? OfAmd(string gpu) => gpu.Split(':')[0] switch
    {
        "gfx908" or "gfx90a" or "gfx940" or "gfx941" or "gfx942" or "gfx950" => Amd64,
        { Length: 7 } name when name.StartsWith("gfx11", StringComparison.Ordinal) => Amd11,
        { Length: 7 } name when name.StartsWith("gfx12", StringComparison.Ordinal) => Amd12,
        _ => null,
    };

    /// <summary>Which one Intel's driver has, by the fewest work-items of a sub-group that it compiles for.</summary>
    public static MatrixUnit? OfIntel(long lanes) => lanes switch
    {
        8 => Intel8,
        16 => Intel16,
        _ => null,
    };

    /// <summary>Must run for every context in which kernels for it are compiled.</summary>
    public abstract void Register(Context.Builder builder);

    public abstract KernelSet<ushort> Kernels(IKernelLoader loader, int multiprocessors);
}

/// <summary>See <see cref="MatrixUnit"/>.</summary>
internal sealed class MatrixUnit<TUnit>(string name) : MatrixUnit(name) where TUnit : struct, IMatrixUnit
{
    public override void Register(Context.Builder builder)
    {
        ClMatrixCode<TUnit, LargeMatrixTile>.Register(builder);
        ClMatrixCode<TUnit, SmallMatrixTile>.Register(builder);
    }

    public override KernelSet<ushort> Kernels(IKernelLoader loader, int multiprocessors) => new MatrixKernels<TUnit>(loader, multiprocessors);
}
