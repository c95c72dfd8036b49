namespace StableDiffusion.Ilgpu;

/// <summary>Where a pipeline's time went, summed over everything since its loading began.</summary>
internal sealed record GenerationTimings
{
    /// <summary>Compiling kernels on first use; on its own thread, so it overlaps with <see cref="Load"/>.</summary>
    public TimeSpan KernelCompile { get; set; }

    /// <summary>Reading and packing weights, compiling graphs.</summary>
    public TimeSpan Load { get; set; }

    /// <summary>Tokenizer and text encoder.</summary>
    public TimeSpan Text { get; set; }

    /// <summary>The sampler's steps.</summary>
    public TimeSpan Sampling { get; set; }

    /// <summary>The autoencoder's decoder.</summary>
    public TimeSpan Decode { get; set; }
}
