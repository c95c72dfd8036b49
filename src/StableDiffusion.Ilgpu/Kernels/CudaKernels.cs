using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Kernels.Attention;
using StableDiffusion.Ilgpu.Kernels.Gemm;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

namespace StableDiffusion.Ilgpu.Kernels;

/// <summary>
/// The kernels for NVIDIA's GPUs since compute capability 8.0: contractions and attention on tensor cores, everything else as any GPU runs it.
/// What does not fit the tensor cores' kernels (channels that are no multiple of 8, a few rows only) goes to the others too.
/// </summary>
internal class CudaKernels(IKernelLoader loader, int multiprocessors) : GpuKernels<ushort, GpuHalfFormat<CudaHalfConversion>>(loader, multiprocessors)
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

    /// <summary>Heads of these sizes, laid out in multiples of 8 values, go to tensor cores.</summary>
    public override Launcher<AttentionArguments<ushort>> AttentionFor(in AttentionArguments<ushort> attention) =>
        !TensorAttentionKernel.Fits(attention) ? base.AttentionFor(attention) : attention.HeadSize switch
        {
            8 => Tensor<Head8>(attention),
            16 => Tensor<Head16>(attention),
            24 => Tensor<Head24>(attention),
            32 => Tensor<Head32>(attention),
            40 => Tensor<Head40>(attention),
            48 => Tensor<Head48>(attention),
            64 => Tensor<Head64>(attention),
            80 => Tensor<Head80>(attention),
            96 => Tensor<Head96, OneRowTile>(),
            128 => Tensor<Head128, OneRowTile>(),
            160 => Tensor<Head160, OneRowTile>(),
            <= DeepAttentionShape.MostChannels and var size when size % DeepAttentionShape.PartColumns == 0 => DeepAttention,
            _ => base.AttentionFor(attention),
        };

    private Launcher<AttentionArguments<ushort>> DeepAttention => Get<AttentionArguments<ushort>>(
        "deep attention", DeepAttentionKernel.Run, DeepAttentionKernel.Shape, new KernelSpecialization(DeepAttentionShape.Threads, 1),
        DeepAttentionKernel.SharedBytes);

    /// <summary>
    /// Large groups where that still gives every multiprocessor one. A query's result is the same in both; but for the diagonal's blocks of a causal attention,
    /// which keeps to small ones.
    /// </summary>
    private Launcher<AttentionArguments<ushort>> Tensor<THead>(in AttentionArguments<ushort> attention)
        where THead : struct, ITensorHead =>
        attention.Causal == 0 && attention.Items * attention.Heads * TensorAttentionKernel.Blocks(attention, TensorAttention<THead, TwoRowTiles>.Shape.Queries) >= multiprocessors
            ? Tensor<THead, TwoRowTiles>()
            : Tensor<THead, OneRowTile>();

    private Launcher<AttentionArguments<ushort>> Tensor<THead, TRows>()
        where THead : struct, ITensorHead
        where TRows : struct, IRowTiles
    {
        var shape = TensorAttention<THead, TRows>.Shape;
        return Get<AttentionArguments<ushort>>(
            $"attention {shape.HeadSize}x{shape.Queries}", TensorAttentionKernel<THead, TRows>.Run, TensorAttentionKernel<THead, TRows>.Shape,
            new KernelSpecialization(TensorAttentionShape.Threads, 1), shape.SharedBytes);
    }
}
