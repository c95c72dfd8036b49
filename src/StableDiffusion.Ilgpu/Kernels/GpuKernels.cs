using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Kernels.Attention;
using StableDiffusion.Ilgpu.Kernels.Gemm;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Norms;
using StableDiffusion.Ilgpu.Kernels.Pointwise;

namespace StableDiffusion.Ilgpu.Kernels;

/// <summary>
/// The kernels for devices whose groups have many work-items, in plain C#: any GPU can run them. They use static shared memory and barriers, and
/// neither atomic operations nor scratch memory.
/// </summary>
internal class GpuKernels<T, TFormat>(IKernelLoader loader, int multiprocessors) : KernelSet<T>
    where T : unmanaged
    where TFormat : struct, IGpuFormat<T>
{
    private const string WinogradName = "winograd 2x2";

    private readonly CompiledKernels compiled = new();

    public override string Leaf => "gpu";

    public override int PanelPitch => Tile.Columns;

    public override int ScratchGroups => 0;

    public override bool CountsTiles => false;

    public override void Cut(ref GemmArguments<T> contraction) => GpuGemmTiling.Choose(ref contraction, multiprocessors);

    public override Launcher<GemmArguments<T>> Gemm
    {
        get
        {
            _ = (LargeGemm, SmallGemm, GemmOfFewRows);
            return (stream, arguments, scratch, counter) => GemmOf(arguments.TileRows)(stream, arguments, scratch, counter);
        }
    }

    public override Launcher<GemmArguments<T>> GemmFor(in GemmArguments<T> contraction) => GemmOf(contraction.TileRows);

    public override WinogradConvolution<T>? WinogradFor(in GemmArguments<T> convolution) =>
        GpuWinogradKernel<T, TFormat>.Fits(convolution) ? new(WinogradName, Scratch: 0, Winograd) : null;

    public override Launcher<AttentionArguments<T>> Attention =>
        Get<AttentionArguments<T>>("wide attention", GpuAttentionKernel<T, TFormat>.RunWide, GpuAttentionKernel<T, TFormat>.WideShape);

    public override Launcher<AttentionArguments<T>> AttentionFor(in AttentionArguments<T> attention) =>
        attention.HeadSize <= GpuAttentionKernel<T, TFormat>.NarrowColumns ? NarrowAttention : Attention;

    public override Launcher<GroupNormArguments<T>>? GroupNormFor(in GroupNormArguments<T> norm) =>
        GpuWholeGroupNormKernel<T, TFormat>.Fits(norm) ? WholeGroupNorm : null;

    protected override Launcher<GroupNormArguments<T>>? WholeGroupNorm =>
        Get<GroupNormArguments<T>>("group norm", GpuWholeGroupNormKernel<T, TFormat>.Run, GpuWholeGroupNormKernel<T, TFormat>.Shape);

    public override Launcher<GroupNormArguments<T>> Moments =>
        Get<GroupNormArguments<T>>(nameof(Moments), GpuGroupNormKernels<T, TFormat>.Moments, GpuGroupNormKernels<T, TFormat>.MomentsShape);

    public override Launcher<GroupNormArguments<T>> MergeMoments =>
        Get<GroupNormArguments<T>>(nameof(MergeMoments), GpuGroupNormKernels<T, TFormat>.Merge, GpuGroupNormKernels<T, TFormat>.MergeShape);

    public override Launcher<GroupNormArguments<T>> Normalize =>
        Get<GroupNormArguments<T>>(nameof(Normalize), GpuGroupNormKernels<T, TFormat>.Normalize, GpuGroupNormKernels<T, TFormat>.NormalizeShape);

    public override Launcher<LayerNormArguments<T>> LayerNorm =>
        Get<LayerNormArguments<T>>(nameof(LayerNorm), GpuLayerNormKernel<T, TFormat>.Run, GpuLayerNormKernel<T, TFormat>.Shape);

    public override Launcher<PointwiseArguments<T>> Activate => Pointwise(nameof(Activate), GpuPointwiseKernels<T, TFormat>.Activate);

    public override Launcher<PointwiseArguments<T>> Affine => Pointwise(nameof(Affine), GpuPointwiseKernels<T, TFormat>.Affine);

    public override Launcher<PointwiseArguments<T>> Add => Pointwise(nameof(Add), GpuPointwiseKernels<T, TFormat>.Add);

    public override Launcher<PointwiseArguments<T>> Geglu => Pointwise(nameof(Geglu), GpuPointwiseKernels<T, TFormat>.Geglu);

    public override Launcher<PointwiseArguments<T>> Resize => Pointwise(nameof(Resize), GpuPointwiseKernels<T, TFormat>.Resize);

    public override Launcher<EmbeddingArguments<T>> TokenEmbedding =>
        Get<EmbeddingArguments<T>>(nameof(TokenEmbedding), GpuPointwiseKernels<T, TFormat>.TokenEmbedding, GpuPointwiseKernels<T, TFormat>.Shape);

    public override Launcher<EmbeddingArguments<T>> TimestepEmbedding =>
        Get<EmbeddingArguments<T>>(nameof(TimestepEmbedding), GpuPointwiseKernels<T, TFormat>.TimestepEmbedding, GpuPointwiseKernels<T, TFormat>.Shape);

    public override Launcher<ConversionArguments<T>> Scale =>
        Get<ConversionArguments<T>>(nameof(Scale), GpuLatentKernels<T, TFormat>.Scale, a => GpuLatentKernels<T, TFormat>.Shape(a.Count));

    public override Launcher<ConversionArguments<T>> ToBytes =>
        Get<ConversionArguments<T>>(nameof(ToBytes), GpuLatentKernels<T, TFormat>.ToBytes, a => GpuLatentKernels<T, TFormat>.Shape(a.Count));

    public override Launcher<LatentUpdateArguments<T>> LatentUpdate =>
        Get<LatentUpdateArguments<T>>(nameof(LatentUpdate), GpuLatentKernels<T, TFormat>.Update, a => GpuLatentKernels<T, TFormat>.Shape(a.Count));

    public override Launcher<LatentBlendArguments> LatentBlend =>
        Get<LatentBlendArguments>(nameof(LatentBlend), GpuLatentKernels<T, TFormat>.Blend, a => GpuLatentKernels<T, TFormat>.Shape(a.Count));

    protected override IReadOnlyList<Action> Chosen => [() => _ = Winograd, () => _ = NarrowAttention];

    private Launcher<GemmArguments<T>> GemmOf(int tileRows) => tileRows switch
    {
        GpuGemmTiling.LargeRows => LargeGemm,
        GpuGemmTiling.SmallRows => SmallGemm,
        _ => GemmOfFewRows,
    };

    private Launcher<GemmArguments<T>> LargeGemm => Get<GemmArguments<T>>("large gemm", GpuGemmKernel<T, TFormat>.RunLarge, GpuGemmTiling.Shape);

    private Launcher<GemmArguments<T>> SmallGemm => Get<GemmArguments<T>>("small gemm", GpuGemmKernel<T, TFormat>.RunSmall, GpuGemmTiling.Shape);

    private Launcher<GemmArguments<T>> GemmOfFewRows => Get<GemmArguments<T>>("gemm of few rows", GpuGemmKernel<T, TFormat>.RunFew, GpuGemmTiling.Shape);

    private Launcher<GemmArguments<T>> Winograd =>
        Get<GemmArguments<T>>(WinogradName, GpuWinogradKernel<T, TFormat>.Run, GpuWinogradKernel<T, TFormat>.Shape);

    private Launcher<AttentionArguments<T>> NarrowAttention =>
        Get<AttentionArguments<T>>("narrow attention", GpuAttentionKernel<T, TFormat>.RunNarrow, GpuAttentionKernel<T, TFormat>.NarrowShape);

    private Launcher<PointwiseArguments<T>> Pointwise(string name, Action<PointwiseArguments<T>> kernel) =>
        Get(name, kernel, GpuPointwiseKernels<T, TFormat>.Shape);

    /// <param name="name">The kernel's, among the set's.</param>
    /// <param name="kernel">The kernel.</param>
    /// <param name="shape">The groups that a launch needs, and their work-items.</param>
    /// <param name="specialization">The work-items of its groups, where registers are to be shared out for so many.</param>
    /// <param name="dynamicBytes">Shared memory of dynamic size that its launches ask for.</param>
    protected Launcher<TArguments> Get<TArguments>(
        string name, Action<TArguments> kernel, Func<TArguments, KernelConfig> shape, KernelSpecialization specialization = default, int dynamicBytes = 0)
        where TArguments : struct =>
        compiled.Get(name, () =>
        {
            var load = loader.Load(name, kernel, specialization, dynamicBytes);
            return new Launcher<TArguments>((stream, arguments, _, _) => load(stream, shape(arguments), arguments));
        });
}
