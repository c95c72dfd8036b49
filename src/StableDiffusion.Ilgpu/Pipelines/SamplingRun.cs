using StableDiffusion.Ilgpu.Sampling;

namespace StableDiffusion.Ilgpu;

/// <summary>What the engine is given to walk a sampler's plan once.</summary>
internal sealed record SamplingRun
{
    /// <summary>Encoded prompts.</summary>
    public required StepContexts Context { get; init; }

    /// <summary>Guidance scale; null for none.</summary>
    public required double? Guidance { get; init; }

    /// <summary>Of the latent.</summary>
    public required int Height { get; init; }

    /// <summary>Of the latent.</summary>
    public required int Width { get; init; }

    /// <summary>The sampler's numbers.</summary>
    public required SamplingPlan Plan { get; init; }

    /// <summary>Gives the next standard normal noise of a latent's size, channels first; the first one starts the run.</summary>
    public required Func<float[]> Draw { get; init; }

    /// <summary>Called with the number of steps done.</summary>
    public Action<int>? AfterStep { get; init; }
}
