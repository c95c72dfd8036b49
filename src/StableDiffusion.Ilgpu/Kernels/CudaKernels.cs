using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Kernels.Attention;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

namespace StableDiffusion.Ilgpu.Kernels;

/// <summary>
/// The kernels for NVIDIA's GPUs since compute capability 8.0: contractions and attention on tensor cores, everything else as any GPU runs it.
/// What does not fit the tensor cores' kernels (channels that are no multiple of 8, a few rows only) goes to the others too.
/// </summary>
internal sealed class CudaKernels(IKernelLoader loader, int multiprocessors) : GpuKernels<ushort, HalfFormat>(loader, multiprocessors)
{
    private readonly int processors = multiprocessors;

    public override string Leaf => "tensor";

    /// <summary>Heads of these sizes, laid out in multiples of 8 values, go to tensor cores.</summary>
    public override Launcher<AttentionArguments<ushort>> AttentionFor(in AttentionArguments<ushort> attention) =>
        !TensorAttentionKernel.Fits(attention) ? base.AttentionFor(attention) : attention.HeadSize switch
        {
            8 => TensorAttention<Head8>(attention),
            16 => TensorAttention<Head16>(attention),
            24 => TensorAttention<Head24>(attention),
            32 => TensorAttention<Head32>(attention),
            40 => TensorAttention<Head40>(attention),
            48 => TensorAttention<Head48>(attention),
            64 => TensorAttention<Head64>(attention),
            80 => TensorAttention<Head80>(attention),
            96 => TensorAttention<Head96, OneRowTile>(),
            128 => TensorAttention<Head128, OneRowTile>(),
            160 => TensorAttention<Head160, OneRowTile>(),
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
    private Launcher<AttentionArguments<ushort>> TensorAttention<THead>(in AttentionArguments<ushort> attention)
        where THead : struct, ITensorHead =>
        attention.Causal == 0 && attention.Items * attention.Heads * ((attention.Queries + 127) / 128) >= processors
            ? TensorAttention<THead, TwoRowTiles>()
            : TensorAttention<THead, OneRowTile>();

    private Launcher<AttentionArguments<ushort>> TensorAttention<THead, TRows>()
        where THead : struct, ITensorHead
        where TRows : struct, IRowTiles
    {
        var shape = Leaves.Cuda.TensorAttention<THead, TRows>.Shape;
        return Get<AttentionArguments<ushort>>(
            $"attention {shape.HeadSize}x{shape.Queries}", TensorAttentionKernel<THead, TRows>.Run, TensorAttentionKernel<THead, TRows>.Shape,
            new KernelSpecialization(TensorAttentionShape.Threads, 1), shape.SharedBytes);
    }
}
