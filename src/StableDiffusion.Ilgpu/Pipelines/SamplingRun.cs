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

    /// <summary>The noise that a run begins with, in place of the first one drawn.</summary>
    public float[]? StartNoise { get; init; }

    /// <summary>What an inpainting UNet reads beside the latents: mask and masked picture's latent of each picture, channels first.</summary>
    public float[]? Conditions { get; init; }

    /// <summary>What stays as it is; null for nothing.</summary>
    public MaskedLatent? Blend { get; init; }

    /// <summary>Called with the number of steps done.</summary>
    public Action<int>? AfterStep { get; init; }

    /// <summary>Looks on; null where nobody does.</summary>
    public StepWatch? Watch { get; init; }
}

/// <summary>Latents of which a part is known: after each step it takes its place, under the noise of the next one.</summary>
/// <param name="Known">Of all pictures, channels first.</param>
/// <param name="Mask">One value a latent pixel, the same for all pictures: 1 where it is drawn, 0 where it is known.</param>
internal sealed record MaskedLatent(float[] Known, float[] Mask);
