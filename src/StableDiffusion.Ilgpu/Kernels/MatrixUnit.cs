using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;

namespace StableDiffusion.Ilgpu.Kernels;

/// <summary>A kind of matrix units: how contexts and kernels for it are made.</summary>
internal abstract class MatrixUnit
{
    /// <summary>Must run for every context in which kernels for it are compiled.</summary>
    public abstract void Register(Context.Builder builder);

    public abstract KernelSet<ushort> Kernels(IKernelLoader loader, int multiprocessors);
}

/// <summary>See <see cref="MatrixUnit"/>.</summary>
internal sealed class MatrixUnit<TUnit> : MatrixUnit where TUnit : struct, IMatrixUnit
{
    public override void Register(Context.Builder builder)
    {
        ClMatrixCode<TUnit>.Register(builder);
        ClMatrixCode<TUnit, LargeMatrixTile>.Register(builder);
        ClMatrixCode<TUnit, SmallMatrixTile>.Register(builder);
        ClMatrixCode<TUnit, ScoresTile>.Register(builder);
        ClMatrixCode<TUnit, Output48Tile>.Register(builder);
        ClMatrixCode<TUnit, Output64Tile>.Register(builder);
        ClMatrixCode<TUnit, Output80Tile>.Register(builder);
    }

    public override KernelSet<ushort> Kernels(IKernelLoader loader, int multiprocessors) => new MatrixKernels<TUnit>(loader, multiprocessors);
}
