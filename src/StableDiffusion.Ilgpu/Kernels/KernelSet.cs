using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Kernels.Attention;
using StableDiffusion.Ilgpu.Kernels.Gemm;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Norms;
using StableDiffusion.Ilgpu.Kernels.Pointwise;

namespace StableDiffusion.Ilgpu.Kernels;

/// <summary>A compiled kernel. Scratch memory is shared by all launches; the counter is one element that is zero before the launch.</summary>
internal delegate void Launcher<TArguments>(
    AcceleratorStream stream, KernelConfig config, TArguments arguments, ArrayView<float> scratch, ArrayView<int> counter)
    where TArguments : struct;

/// <summary>Every kernel for activations stored as <typeparamref name="T"/>, compiled when first asked for. Thread-safe.</summary>
internal abstract class KernelSet<T> where T : unmanaged
{
    /// <summary>The leaf's name, for people to read.</summary>
    public abstract string Leaf { get; }

    /// <summary>Columns of a widened panel that the leaf multiplies at a time.</summary>
    public abstract int PanelPitch { get; }

    public abstract Launcher<GemmArguments<T>> Gemm { get; }

    public abstract Launcher<WinogradArguments<T>> Winograd { get; }

    public abstract Launcher<AttentionArguments<T>> Attention { get; }

    public abstract Launcher<GroupNormArguments<T>> Moments { get; }

    public abstract Launcher<GroupNormArguments<T>> MergeMoments { get; }

    public abstract Launcher<GroupNormArguments<T>> Normalize { get; }

    public abstract Launcher<LayerNormArguments<T>> LayerNorm { get; }

    public abstract Launcher<PointwiseArguments<T>> Activate { get; }

    public abstract Launcher<PointwiseArguments<T>> Affine { get; }

    public abstract Launcher<PointwiseArguments<T>> Add { get; }

    public abstract Launcher<PointwiseArguments<T>> Geglu { get; }

    public abstract Launcher<PointwiseArguments<T>> Resize { get; }

    public abstract Launcher<EmbeddingArguments<T>> TokenEmbedding { get; }

    public abstract Launcher<EmbeddingArguments<T>> TimestepEmbedding { get; }

    public abstract Launcher<ConversionArguments<T>> Scale { get; }

    public abstract Launcher<ConversionArguments<T>> ToBytes { get; }

    public abstract Launcher<LatentUpdateArguments<T>> LatentUpdate { get; }

    public abstract Launcher<LatentBlendArguments> LatentBlend { get; }

    /// <summary>Compiles what a fused model needs.</summary>
    public void Warm(CancellationToken cancellationToken)
    {
        Action[] kernels =
        [
            () => _ = TokenEmbedding, () => _ = LayerNorm, () => _ = Gemm, () => _ = Winograd, () => _ = Attention, () => _ = TimestepEmbedding, () => _ = Activate,
            () => _ = Moments, () => _ = MergeMoments, () => _ = Normalize, () => _ = Scale, () => _ = LatentUpdate, () => _ = ToBytes,
        ];
        foreach (var compile in kernels)
        {
            cancellationToken.ThrowIfCancellationRequested();
            compile();
        }
    }
}

/// <summary>The kernels for devices whose groups have one work-item, with the inner loops of <typeparamref name="TLeaf"/>.</summary>
internal sealed class KernelSet<T, TLeaf>(Accelerator accelerator, string leaf, int panelPitch) : KernelSet<T>
    where T : unmanaged
    where TLeaf : struct, ILeaf<T>
{
    private readonly Dictionary<string, Delegate> compiled = [];

    public override string Leaf => leaf;

    public override int PanelPitch => panelPitch;

    public override Launcher<GemmArguments<T>> Gemm => Get<GemmArguments<T>>(nameof(Gemm), GemmKernel<T, TLeaf>.Run);

    public override Launcher<WinogradArguments<T>> Winograd => Get<WinogradArguments<T>>(nameof(Winograd), WinogradKernel<T, TLeaf>.Run);

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

    /// <summary>ILGPU itself keeps only weak references to its kernels.</summary>
    private Launcher<TArguments> Get<TArguments>(string name, Action<TArguments, ArrayView<float>, ArrayView<int>> kernel)
        where TArguments : struct
    {
        lock (compiled)
        {
            if (!compiled.TryGetValue(name, out var launcher))
            {
                var load = KernelLoading.Load(accelerator, name, () => accelerator.LoadKernel(kernel));
                compiled[name] = launcher = new Launcher<TArguments>(load.Invoke);
            }

            return (Launcher<TArguments>)launcher;
        }
    }
}
