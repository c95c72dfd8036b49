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
    AcceleratorStream stream, TArguments arguments, ArrayView<float> scratch, ArrayView<int> counter)
    where TArguments : struct;

/// <summary>A convolution by one of Winograd's algorithms.</summary>
/// <param name="Name">For people to read.</param>
/// <param name="Scratch">fp32 values of scratch memory.</param>
/// <param name="Launch">Takes the convolution, with the memory that it is to work on.</param>
internal sealed record WinogradConvolution<T>(string Name, long Scratch, Launcher<GemmArguments<T>> Launch) where T : unmanaged;

/// <summary>Every kernel for activations stored as <typeparamref name="T"/>, compiled when first asked for. Thread-safe.</summary>
internal abstract class KernelSet<T> where T : unmanaged
{
    /// <summary>The leaf's name, for people to read.</summary>
    public abstract string Leaf { get; }

    /// <summary>Columns of a widened panel that the leaf multiplies at a time.</summary>
    public abstract int PanelPitch { get; }

    /// <summary>Groups that have a part of the scratch memory each; 0 where kernels need none.</summary>
    public abstract int ScratchGroups { get; }

    /// <summary>Whether groups count the tiles they take; kernels that do not leave their counter alone.</summary>
    public abstract bool CountsTiles { get; }

    /// <summary>fp32 values of scratch memory that a contraction needs, cut as <see cref="Cut"/> left it.</summary>
    public virtual long Scratch(in GemmArguments<T> contraction) => (long)contraction.Scratch * ScratchGroups;

    /// <summary>Chooses the tiles of a contraction.</summary>
    public abstract void Cut(ref GemmArguments<T> contraction);

    public abstract Launcher<GemmArguments<T>> Gemm { get; }

    /// <summary>The kernel of one contraction, cut as <see cref="Cut"/> left it.</summary>
    public virtual Launcher<GemmArguments<T>> GemmFor(in GemmArguments<T> contraction) => Gemm;

    /// <summary>How a convolution, not yet cut, is computed with Winograd's fewer multiplications; null where it is not.</summary>
    public abstract WinogradConvolution<T>? WinogradFor(in GemmArguments<T> convolution);

    public abstract Launcher<AttentionArguments<T>> Attention { get; }

    /// <summary>
    /// Whether models take <see cref="Gemm"/> and <see cref="Attention"/> for most of their operations; if not, they are for what <see cref="GemmFor"/> and
    /// <see cref="AttentionFor"/> have nothing better for.
    /// </summary>
    protected virtual bool TakesGeneralKernels => true;

    /// <summary>The kernel of one attention.</summary>
    public virtual Launcher<AttentionArguments<T>> AttentionFor(in AttentionArguments<T> attention) => Attention;

    /// <summary>The kernel that computes a group norm in one launch; null where <see cref="Moments"/> and what follows do it.</summary>
    public virtual Launcher<GroupNormArguments<T>>? GroupNormFor(in GroupNormArguments<T> norm) => null;

    /// <summary>What <see cref="GroupNormFor"/> chooses; null where it chooses nothing.</summary>
    protected virtual Launcher<GroupNormArguments<T>>? WholeGroupNorm => null;

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

    /// <summary>What compiles kernels that only some arguments choose, and that most models have.</summary>
    protected virtual IReadOnlyList<Action> Chosen => [];

    /// <summary>Compiles what a fused model needs.</summary>
    public void Warm(CancellationToken cancellationToken)
    {
        Action[] kernels =
        [
            () => _ = TokenEmbedding, () => _ = LayerNorm, () => _ = TakesGeneralKernels ? Gemm : null, () => _ = TakesGeneralKernels ? Attention : null, () => _ = TimestepEmbedding, () => _ = Activate,
            () => _ = WholeGroupNorm, () => _ = Moments, () => _ = MergeMoments, () => _ = Normalize, () => _ = Scale, () => _ = LatentUpdate, () => _ = ToBytes,
            .. Chosen,
        ];
        foreach (var compile in kernels)
        {
            cancellationToken.ThrowIfCancellationRequested();
            compile();
        }
    }
}
