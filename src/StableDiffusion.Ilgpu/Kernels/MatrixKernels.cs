using StableDiffusion.Ilgpu.Kernels.Attention;
using StableDiffusion.Ilgpu.Kernels.Gemm;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;

namespace StableDiffusion.Ilgpu.Kernels;

/// <summary>
/// The kernels for OpenCL's GPUs with matrix units: contractions and attention on them, everything else as any GPU runs it. So is what does not fit them (channels
/// that are no multiple of 8, a few rows only).
/// </summary>
/// <param name="loader">Compiles them.</param>
/// <param name="multiprocessors">The device's.</param>
internal class MatrixKernels<TUnit>(IKernelLoader loader, int multiprocessors) : GpuKernels<ushort, GpuHalfFormat<ClHalfConversion>>(loader, multiprocessors)
    where TUnit : struct, IMatrixUnit
{
    private readonly int multiprocessors = multiprocessors;

    public override string Leaf => "matrix";

    public override void Cut(ref GemmArguments<ushort> contraction)
    {
        if (MatrixGemmTiling.Fits(contraction))
        {
            MatrixGemmTiling.Choose<TUnit>(ref contraction, multiprocessors);
        }
        else
        {
            base.Cut(ref contraction);
        }
    }

    public override Launcher<GemmArguments<ushort>> GemmFor(in GemmArguments<ushort> contraction) =>
        !MatrixGemmTiling.Fits(contraction) ? base.GemmFor(contraction)
        : contraction.TileRows == default(LargeMatrixTile).Rows ? Multiply<LargeMatrixTile>() : Multiply<SmallMatrixTile>();

    /// <summary>Matrix units are faster with all products.</summary>
    public override WinogradConvolution<ushort>? WinogradFor(in GemmArguments<ushort> convolution) =>
        MatrixGemmTiling.Fits(convolution) ? null : base.WinogradFor(convolution);

    protected override bool TakesGeneralKernels => false;

    public override Launcher<AttentionArguments<ushort>> AttentionFor(in AttentionArguments<ushort> attention) =>
        !MatrixAttentionKernel.Fits(attention) ? base.AttentionFor(attention) : attention.HeadSize switch
        {
            <= 48 => Attend<Output48Tile>(),
            <= 64 => Attend<Output64Tile>(),
            _ => Attend<Output80Tile>(),
        };

    protected override IReadOnlyList<Action> Chosen => [() => _ = Multiply<LargeMatrixTile>(), () => _ = Multiply<SmallMatrixTile>()];

    private Launcher<GemmArguments<ushort>> Multiply<TTile>() where TTile : struct, IMatrixTile => Get<GemmArguments<ushort>>(
        $"matrix gemm {default(TTile).Rows}x{default(TTile).Columns}", MatrixGemmKernel<TUnit, TTile>.Run, MatrixGemmKernel<TUnit, TTile>.Shape);

    private Launcher<AttentionArguments<ushort>> Attend<TOutput>() where TOutput : struct, IMatrixTile => Get<AttentionArguments<ushort>>(
        $"matrix attention {default(TOutput).Columns}", MatrixAttentionKernel<TUnit, TOutput>.Run, MatrixAttentionKernel<TUnit, TOutput>.Shape);
}
