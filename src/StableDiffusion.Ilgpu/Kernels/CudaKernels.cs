using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Kernels.Gemm;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

namespace StableDiffusion.Ilgpu.Kernels;

/// <summary>
/// The kernels for NVIDIA's GPUs since compute capability 8.0: contractions and attention on tensor cores, everything else as any GPU runs it.
/// What does not fit the tensor cores' kernels (channels that are no multiple of 8, a few rows only) goes to the others too.
/// </summary>
internal class CudaKernels(IKernelLoader loader, int multiprocessors) : GpuKernels<ushort, HalfFormat>(loader, multiprocessors)
{
    private readonly int multiprocessors = multiprocessors;

    public override string Leaf => "tensor";

    public override void Cut(ref GemmArguments<ushort> contraction)
    {
        if (TensorGemmTiling.Fits(contraction))
        {
            TensorGemmTiling.Choose(ref contraction, multiprocessors);
        }
        else
        {
            base.Cut(ref contraction);
        }
    }

    public override long Scratch(in GemmArguments<ushort> contraction) => TensorGemmTiling.Fits(contraction)
        ? TensorGemmTiling.Scratch(TensorGemmTiling.Complete(contraction, multiprocessors)) : base.Scratch(contraction);

    public override Launcher<GemmArguments<ushort>> GemmFor(in GemmArguments<ushort> contraction)
    {
        if (!TensorGemmTiling.Fits(contraction))
        {
            return base.GemmFor(contraction);
        }

        var complete = TensorGemmTiling.Complete(contraction, multiprocessors);
        var multiply = contraction.TileRows == TensorTileShape.Of<SmallTile>().Rows ? Multiply<SmallTile>()
            : contraction.TilePanels == TensorTileShape.Of<WideTile>().Panels ? Multiply<WideTile>() : Multiply<SquareTile>();
        var finish = complete.Splits == 1 ? null : Get<TensorGemmArguments>("tensor splits", TensorSplitKernel.Run, TensorSplitKernel.Shape);
        return (stream, arguments, scratch, counter) =>
        {
            var bound = complete with { Gemm = arguments, Partial = scratch };
            multiply(stream, bound, scratch, counter);
            finish?.Invoke(stream, bound, scratch, counter);
        };
    }

    private Launcher<TensorGemmArguments> Multiply<TTile>() where TTile : struct, ITensorTile
    {
        var shape = TensorTileShape.Of<TTile>();
        return Get<TensorGemmArguments>(
            $"tensor gemm {shape.Rows}x{shape.Columns}", TensorGemmKernel<TTile>.Run, TensorGemmKernel<TTile>.Shape,
            new KernelSpecialization(TensorTileShape.Threads, TensorTileShape.GroupsPerMultiprocessor), shape.SharedBytes);
    }
}
