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
/// <param name="loader">Compiles them.</param>
/// <param name="multiprocessors">The device's.</param>
/// <param name="warpgroups">Whether contractions multiply with <c>wgmma</c>, which compute capability 9.0 has, and no other.</param>
internal class CudaKernels(IKernelLoader loader, int multiprocessors, bool warpgroups = false) : GpuKernels<ushort, GpuHalfFormat<CudaHalfConversion>>(loader, multiprocessors)
{
    private readonly int multiprocessors = multiprocessors;

    public override string Leaf => "tensor";

    private int BlockDepth => warpgroups ? default(WarpgroupLoop).Depth : default(WarpLoop).Depth;

    public override void Cut(ref GemmArguments<ushort> contraction)
    {
        if (TensorGemmTiling.Fits(contraction))
        {
            TensorGemmTiling.Choose(ref contraction, multiprocessors, BlockDepth);
        }
        else
        {
            base.Cut(ref contraction);
        }
    }

    public override long Scratch(in GemmArguments<ushort> contraction) => TensorGemmTiling.Fits(contraction)
        ? TensorGemmTiling.Scratch(TensorGemmTiling.Complete(contraction, multiprocessors, BlockDepth)) : base.Scratch(contraction);

    /// <summary>Tensor cores have their own.</summary>
    protected override IReadOnlyList<Action> Chosen => [];

    /// <summary>Tensor cores are faster with all products.</summary>
    public override WinogradConvolution<ushort>? WinogradFor(in GemmArguments<ushort> convolution) =>
        TensorGemmTiling.Fits(convolution) ? null : base.WinogradFor(convolution);

    public override Launcher<GemmArguments<ushort>> GemmFor(in GemmArguments<ushort> contraction)
    {
        if (!TensorGemmTiling.Fits(contraction))
        {
            return base.GemmFor(contraction);
        }

        var complete = TensorGemmTiling.Complete(contraction, multiprocessors, BlockDepth);
        var multiply = warpgroups ? Multiply<WarpgroupLoop>(contraction) : Multiply<WarpLoop>(contraction);
        var finish = complete.Splits == 1 ? null : Get<TensorGemmArguments>("tensor splits", TensorSplitKernel.Run, TensorSplitKernel.Shape);
        return (stream, arguments, scratch, counter) =>
        {
            var bound = complete with { Gemm = arguments, Partial = scratch };
            multiply(stream, bound, scratch, counter);
            finish?.Invoke(stream, bound, scratch, counter);
        };
    }

    private Launcher<TensorGemmArguments> Multiply<TLoop>(in GemmArguments<ushort> contraction) where TLoop : struct, ITensorLoop =>
        new TensorTileShape(contraction.TileRows, contraction.TilePanels) switch
        {
            var shape when shape == TensorTileShape.Of<SquareTile>() => Multiply<SquareTile, TLoop>(),
            var shape when shape == TensorTileShape.Of<WideTile>() => Multiply<WideTile, TLoop>(),
            var shape when shape == TensorTileShape.Of<LowTile>() => Multiply<LowTile, TLoop>(),
            _ => Multiply<SmallTile, TLoop>(),
        };

    private Launcher<TensorGemmArguments> Multiply<TTile, TLoop>()
        where TTile : struct, ITensorTile
        where TLoop : struct, ITensorLoop
    {
        var shape = TensorTileShape.Of<TTile>();
        return Get<TensorGemmArguments>(
            $"tensor gemm {shape.Rows}x{shape.Columns}", TensorGemmKernel<TTile, TLoop>.Run, TensorGemmKernel<TTile, TLoop>.Shape,
            new KernelSpecialization(TensorTileShape.Threads, TensorTileShape.GroupsPerMultiprocessor), TensorGemmKernel<TTile, TLoop>.SharedBytes);
    }

    public override bool HasOneAttention => false;

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
