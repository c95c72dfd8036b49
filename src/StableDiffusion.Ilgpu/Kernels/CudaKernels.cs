using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Kernels.Attention;
using StableDiffusion.Ilgpu.Kernels.Gemm;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;
using StableDiffusion.Ilgpu.Kernels.Norms;

namespace StableDiffusion.Ilgpu.Kernels;

/// <summary>
/// The kernels for NVIDIA's GPUs with tensor cores since compute capability 7.5: contractions and attention on tensor cores, everything else as any GPU runs it.
/// What does not fit the tensor cores' kernels (channels that are no multiple of 8, a few rows only) goes to the others too.
/// </summary>
/// <param name="loader">Compiles them.</param>
/// <param name="multiprocessors">The device's.</param>
/// <param name="cores">What each multiprocessor can do; some multiply with <c>wgmma</c>.</param>
/// <param name="spans">Which 3x3 convolutions copy source pixels once for all taps; with <c>wgmma</c> only.</param>
internal class CudaKernels(IKernelLoader loader, int multiprocessors, TensorCores cores, SpanUse spans = SpanUse.WhereFaster)
    : GpuKernels<ushort, GpuHalfFormat<CudaHalfConversion>>(loader, multiprocessors)
{
    private readonly TensorDevice device = new(multiprocessors, cores, cores.Warpgroups ? spans : SpanUse.Never);

    public override string Leaf => "tensor";

    public TensorCores Cores => device.Cores;

    public override void Cut(ref GemmArguments<ushort> contraction)
    {
        if (TensorGemmTiling.Fits(contraction))
        {
            TensorGemmTiling.Choose(ref contraction, device);
        }
        else
        {
            base.Cut(ref contraction);
        }
    }

    /// <summary>With the largest tile, for a contraction that fits tensor cores.</summary>
    public void CutLarge(ref GemmArguments<ushort> contraction) => TensorGemmTiling.ChooseLargest(ref contraction, device);

    public override long Scratch(in GemmArguments<ushort> contraction) => TensorGemmTiling.Fits(contraction)
        ? TensorGemmTiling.Scratch(TensorGemmTiling.Complete(contraction, device)) : base.Scratch(contraction);

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

        var complete = TensorGemmTiling.Complete(contraction, device);
        var epilogue = contraction.Epilogue;
        var eights = complete.Vectors != 0 && contraction.Columns % Float8.Length == 0 && epilogue.Activation == (int)Activation.None;
        return (eights, epilogue.Geglu, epilogue.HasItemBias, epilogue.HasResidual) switch
        {
            (true, 0, 0, 0) => Contraction<PlainEnd>(complete, ""),
            (true, 0, _, 0) => Contraction<ItemBiasEnd>(complete, " item bias"),
            (true, 0, 0, _) => Contraction<ResidualEnd>(complete, " residual"),
            (true, _, 0, 0) => Contraction<GegluEnd>(complete, " geglu"),
            _ => Contraction<GeneralEnd>(complete, " general"),
        };
    }

    /// <param name="complete">The contraction, without memory.</param>
    /// <param name="end">The end's name, for people to read.</param>
    private Launcher<GemmArguments<ushort>> Contraction<TEnd>(TensorGemmArguments complete, string end) where TEnd : struct, ITensorEnd
    {
        if (complete.Splits == 1)
        {
            var whole = Multiply<TEnd>(complete, end);
            return (stream, arguments, scratch, counter) => whole(stream, complete with { Gemm = arguments, Partial = scratch }, scratch, counter);
        }

        var multiply = Multiply<SplitEnd>(complete, " split");
        var finish = Get<TensorGemmArguments>($"tensor splits{end}", TensorSplitKernel<TEnd>.Run, TensorSplitKernel<TEnd>.Shape);
        return (stream, arguments, scratch, counter) =>
        {
            var bound = complete with { Gemm = arguments, Partial = scratch };
            multiply(stream, bound, scratch, counter);
            finish(stream, bound, scratch, counter);
        };
    }

    private Launcher<TensorGemmArguments> Multiply<TEnd>(TensorGemmArguments complete, string end) where TEnd : struct, ITensorEnd
    {
        switch (device.Cores.Loop)
        {
            case TensorLoopKind.TuringWarps:
                return complete.Gemm.TileRows == default(TallTile).Rows ? Multiply<TallTile, TuringLoop, TEnd>(end) : Multiply<SmallTile, TuringLoop, TEnd>(end);
            case TensorLoopKind.ShortWarps:
                return Warps<ShortWarpLoop, TEnd>(complete.Gemm, end);
            case TensorLoopKind.Warps:
                return Warps<WarpLoop, TEnd>(complete.Gemm, end);
        }

        if (complete.TakesSpans)
        {
            return complete.Gemm.TilePanels == default(SquareTile).Panels
                ? Multiply<SquareTile, SpanLoop, TEnd>(end + " spans") : Multiply<WideTile, SpanLoop, TEnd>(end + " spans");
        }

        if (complete.Gemm.Tiles * complete.Splits > device.Multiprocessors)
        {
            return Warpgroups<TEnd>(complete.Gemm, end);
        }

        return new TensorTileShape(complete.Gemm.TileRows, complete.Gemm.TilePanels) switch
        {
            var shape when shape == TensorTileShape.Of<SquareTile>() => Multiply<SquareTile, DeepWarpgroupLoop, TEnd>(end + " deep"),
            var shape when shape == TensorTileShape.Of<WideTile>() => Multiply<WideTile, DeepWarpgroupLoop, TEnd>(end + " deep"),
            var shape when shape == TensorTileShape.Of<TallTile>() => Multiply<TallTile, DeepWarpgroupLoop, TEnd>(end + " deep"),
            _ => Warpgroups<TEnd>(complete.Gemm, end),
        };
    }

    private Launcher<TensorGemmArguments> Warps<TLoop, TEnd>(in GemmArguments<ushort> contraction, string end)
        where TLoop : struct, ITensorLoop
        where TEnd : struct, ITensorEnd =>
        new TensorTileShape(contraction.TileRows, contraction.TilePanels) switch
        {
            var shape when shape == TensorTileShape.Of<SquareTile>() => Multiply<SquareTile, TLoop, TEnd>(end),
            var shape when shape == TensorTileShape.Of<WideTile>() => Multiply<WideTile, TLoop, TEnd>(end),
            var shape when shape == TensorTileShape.Of<LowTile>() => Multiply<LowTile, TLoop, TEnd>(end),
            _ => Multiply<SmallTile, TLoop, TEnd>(end),
        };

    private Launcher<TensorGemmArguments> Warpgroups<TEnd>(in GemmArguments<ushort> contraction, string end)
        where TEnd : struct, ITensorEnd =>
        new TensorTileShape(contraction.TileRows, contraction.TilePanels) switch
        {
            var shape when shape == TensorTileShape.Of<SquareTile>() => Multiply<SquareTile, WarpgroupLoop, TEnd>(end),
            var shape when shape == TensorTileShape.Of<WideTile>() => Multiply<WideTile, WarpgroupLoop, TEnd>(end),
            var shape when shape == TensorTileShape.Of<TallTile>() => Multiply<TallTile, WarpgroupLoop, TEnd>(end),
            var shape when shape == TensorTileShape.Of<NarrowTile>() => Multiply<NarrowTile, WarpgroupLoop, TEnd>(end),
            _ => Multiply<SmallTile, WarpgroupLoop, TEnd>(end),
        };

    private Launcher<TensorGemmArguments> Multiply<TTile, TLoop, TEnd>(string end)
        where TTile : struct, ITensorTile
        where TLoop : struct, ITensorLoop
        where TEnd : struct, ITensorEnd
    {
        var shape = TensorTileShape.Of<TTile>();
        return Get<TensorGemmArguments>(
            $"tensor gemm {shape.Rows}x{shape.Columns}{end}", TensorGemmKernel<TTile, TLoop, TEnd>.Run, TensorGemmKernel<TTile, TLoop, TEnd>.Shape,
            new KernelSpecialization(default(TLoop).Threads, default(TLoop).GroupsPerMultiprocessor(shape)), TensorGemmKernel<TTile, TLoop, TEnd>.SharedBytes);
    }

    protected override Launcher<GroupNormArguments<ushort>>? WholeGroupNorm => Get<GroupNormArguments<ushort>>(
        "wide group norm", GpuWholeGroupNormKernel<ushort, GpuHalfFormat<CudaHalfConversion>>.Run,
        GpuWholeGroupNormKernel<ushort, GpuHalfFormat<CudaHalfConversion>>.WideShape, GpuWholeGroupNormKernel<ushort, GpuHalfFormat<CudaHalfConversion>>.Wide);

    protected override bool TakesGeneralKernels => false;

    /// <summary>Heads of these sizes, laid out in multiples of 8 values, go to tensor cores.</summary>
    public override Launcher<AttentionArguments<ushort>> AttentionFor(in AttentionArguments<ushort> attention) =>
        !TensorAttentionKernel.Fits(attention) || !HasRoom(attention.HeadSize) ? base.AttentionFor(attention) : attention.HeadSize switch
        {
            8 => Tensor<Head8>(attention),
            16 => Tensor<Head16>(attention),
            24 => Tensor<Head24>(attention),
            32 => Tensor<Head32>(attention),
            40 => Tensor<Head40>(attention),
            48 => Tensor<Head48>(attention),
            64 => Tensor<Head64>(attention),
            80 when device.Cores.Loop == TensorLoopKind.TuringWarps => Tensor<Head80, OneRowTile>(), // Two would spill registers.
            80 => Tensor<Head80>(attention),
            96 => Tensor<Head96, OneRowTile>(),
            128 => Tensor<Head128, OneRowTile>(),
            160 => Tensor<Head160, OneRowTile>(),
            <= DeepAttentionShape.MostChannels and var size when size % DeepAttentionShape.PartColumns == 0 => DeepAttention,
            _ => base.AttentionFor(attention),
        };

    /// <summary>Whether a group fits a multiprocessor: not with the largest heads where there are 64 KB.</summary>
    private bool HasRoom(int headSize)
    {
        var bytes = headSize <= default(Head160).Size ? new TensorAttentionShape(headSize, 1).SharedBytes : DeepAttentionKernel.SharedBytes;
        return bytes <= device.Cores.GroupBytes(1);
    }

    private Launcher<AttentionArguments<ushort>> DeepAttention => Get<AttentionArguments<ushort>>(
        "deep attention", DeepAttentionKernel.Run, DeepAttentionKernel.Shape, new KernelSpecialization(DeepAttentionShape.Threads, 1),
        DeepAttentionKernel.SharedBytes);

    /// <summary>
    /// Large groups where that still gives every multiprocessor one. A query's result is the same in both; but for the diagonal's blocks of a causal attention,
    /// which keeps to small ones.
    /// </summary>
    private Launcher<AttentionArguments<ushort>> Tensor<THead>(in AttentionArguments<ushort> attention)
        where THead : struct, ITensorHead =>
        device.Cores.Warpgroups && PrefersWarpgroups(attention) ? Warpgroups<THead>()
        : attention.Causal == 0 && attention.Items * attention.Heads * TensorAttentionKernel.Blocks(attention, TensorAttention<THead, TwoRowTiles>.Shape.Queries) >= device.Multiprocessors
            ? Tensor<THead, TwoRowTiles>()
            : Tensor<THead, OneRowTile>();

    /// <summary>
    /// Whether <c>wgmma</c> takes it: not where queries see different keys, where a last tile that is almost empty would cost much, or where its large
    /// groups leave many multiprocessors without one. Its results are not the other kernels' to the last bit; so that an item gets the same in any
    /// batch, groups are counted as for the two items of a step with guidance, however many there are.
    /// </summary>
    protected virtual bool PrefersWarpgroups(in AttentionArguments<ushort> attention) =>
        attention.Causal == 0 && attention.Keys >= 2 * WarpgroupAttentionShape.TileKeys
        && 2 * attention.Heads * TensorAttentionKernel.Blocks(attention, WarpgroupAttentionShape.Queries) >= device.Multiprocessors * 3 / 4;

    private Launcher<AttentionArguments<ushort>> Warpgroups<THead>()
        where THead : struct, ITensorHead
    {
        var shape = WarpgroupAttention<THead>.Shape;
        return Get<AttentionArguments<ushort>>(
            $"warpgroup attention {shape.HeadSize}", WarpgroupAttentionKernel<THead>.Run, WarpgroupAttentionKernel<THead>.Shape,
            new KernelSpecialization(WarpgroupAttentionShape.Threads, shape.GroupsPerMultiprocessor), shape.SharedBytes);
    }

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
