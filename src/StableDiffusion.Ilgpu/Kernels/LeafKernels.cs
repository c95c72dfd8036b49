using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Kernels.Attention;
using StableDiffusion.Ilgpu.Kernels.Gemm;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Norms;
using StableDiffusion.Ilgpu.Kernels.Pointwise;

namespace StableDiffusion.Ilgpu.Kernels;

/// <summary>The kernels for devices whose groups have one work-item, with the inner loops of <typeparamref name="TLeaf"/>.</summary>
internal sealed class LeafKernels<T, TLeaf>(ILeafKernelLoader loader, int groups, string leaf, int panelPitch) : KernelSet<T>
    where T : unmanaged
    where TLeaf : struct, ILeaf<T>
{
    private readonly CompiledKernels compiled = new();

    public override string Leaf => leaf;

    public override int PanelPitch => panelPitch;

    public override int ScratchGroups => groups;

    public override bool CountsTiles => true;

    public override void Cut(ref GemmArguments<T> contraction) => GemmTiling.Choose(ref contraction, groups);

    public override Launcher<GemmArguments<T>> Gemm => Get<GemmArguments<T>>(nameof(Gemm), GemmKernel<T, TLeaf>.Run);

    public override WinogradConvolution<T>? WinogradFor(in GemmArguments<T> convolution)
    {
        if (!WinogradTiling.Fits(convolution))
        {
            return null;
        }

        var (blocks, winograd) = (WinogradTiling.Choose(convolution, groups), Winograd);
        return new(
            $"winograd {blocks.TileBlocks}x{blocks.TilePanels * Tile.Columns}", (long)blocks.Scratch * groups,
            (stream, arguments, scratch, counter) => winograd(stream, blocks with { Gemm = arguments }, scratch, counter));
    }

    protected override IReadOnlyList<Action> Chosen => [() => _ = Winograd];

    private Launcher<WinogradArguments<T>> Winograd => Get<WinogradArguments<T>>(nameof(Winograd), WinogradKernel<T, TLeaf>.Run);

    public override Launcher<AttentionArguments<T>> Attention => Get<AttentionArguments<T>>(nameof(Attention), AttentionKernel<T, TLeaf>.Run);

    public override Launcher<GroupNormArguments<T>> Moments => Get<GroupNormArguments<T>>(nameof(Moments), GroupNormKernels<T, TLeaf>.Moments);

    public override Launcher<GroupNormArguments<T>> MergeMoments => Get<GroupNormArguments<T>>(nameof(MergeMoments), GroupNormKernels<T, TLeaf>.Merge);

    public override Launcher<GroupNormArguments<T>> Normalize => Get<GroupNormArguments<T>>(nameof(Normalize), GroupNormKernels<T, TLeaf>.Normalize);

    public override Launcher<LayerNormArguments<T>> LayerNorm => Get<LayerNormArguments<T>>(nameof(LayerNorm), LayerNormKernel<T, TLeaf>.Run);

    public override Launcher<PointwiseArguments<T>> Activate => Get<PointwiseArguments<T>>(nameof(Activate), PointwiseKernels<T, TLeaf>.Activate);

    public override Launcher<PointwiseArguments<T>> Affine => Get<PointwiseArguments<T>>(nameof(Affine), PointwiseKernels<T, TLeaf>.Affine);

    public override Launcher<PointwiseArguments<T>> Add => Get<PointwiseArguments<T>>(nameof(Add), PointwiseKernels<T, TLeaf>.Add);

    public override Launcher<PointwiseArguments<T>> Geglu => Get<PointwiseArguments<T>>(nameof(Geglu), PointwiseKernels<T, TLeaf>.Geglu);

    public override Launcher<PointwiseArguments<T>> Resize => Get<PointwiseArguments<T>>(nameof(Resize), PointwiseKernels<T, TLeaf>.Resize);

    public override Launcher<EmbeddingArguments<T>> TokenEmbedding =>
        Get<EmbeddingArguments<T>>(nameof(TokenEmbedding), PointwiseKernels<T, TLeaf>.TokenEmbedding);

    public override Launcher<EmbeddingArguments<T>> TimestepEmbedding =>
        Get<EmbeddingArguments<T>>(nameof(TimestepEmbedding), PointwiseKernels<T, TLeaf>.TimestepEmbedding);

    public override Launcher<ConversionArguments<T>> Scale => Get<ConversionArguments<T>>(nameof(Scale), LatentKernels<T, TLeaf>.Scale);

    public override Launcher<ConversionArguments<T>> ToBytes => Get<ConversionArguments<T>>(nameof(ToBytes), LatentKernels<T, TLeaf>.ToBytes);

    public override Launcher<LatentUpdateArguments<T>> LatentUpdate => Get<LatentUpdateArguments<T>>(nameof(LatentUpdate), LatentKernels<T, TLeaf>.Update);

    public override Launcher<LatentBlendArguments> LatentBlend => Get<LatentBlendArguments>(nameof(LatentBlend), LatentKernels<T, TLeaf>.Blend);

    private Launcher<TArguments> Get<TArguments>(string name, Action<TArguments, ArrayView<float>, ArrayView<int>> kernel)
        where TArguments : struct =>
        compiled.Get(name, () => loader.Load(name, kernel));
}
