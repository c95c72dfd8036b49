using StableDiffusion.Ilgpu.Sampling;

namespace StableDiffusion.Ilgpu;

/// <summary>What the engine is given to walk a sampler's plan once.</summary>
internal sealed record SamplingRun
{
    /// <summary>Pictures that are drawn together.</summary>
    public int Pictures { get; init; } = 1;

    /// <summary>Encoded prompts, the same for every picture.</summary>
    public required StepContexts Context { get; init; }

    /// <summary>Guidance scale; null for none.</summary>
    public required double? Guidance { get; init; }

    /// <summary>Of the latent.</summary>
    public required int Height { get; init; }

    /// <summary>Of the latent.</summary>
    public required int Width { get; init; }

    /// <summary>The sampler's numbers.</summary>
    public required SamplingPlan Plan { get; init; }

    /// <summary>Convolutions wrap around the edges.</summary>
    public bool Circular { get; init; }

    /// <summary>
    /// Gives the next standard normal noise of the size of all pictures' latents, one after the other, channels first; the first one starts
    /// the run.
    /// </summary>
    public required Func<float[]> Draw { get; init; }

    /// <summary>
    /// Latents to start from, noise mixed in as the plan says, of all pictures, channels first; null to start from noise alone.
    /// </summary>
    public float[]? Start { get; init; }

    /// <summary>Called with the number of steps done.</summary>
    public Action<int>? AfterStep { get; init; }

    /// <summary>Looks on; null where nobody does.</summary>
    public StepWatch? Watch { get; init; }
}
