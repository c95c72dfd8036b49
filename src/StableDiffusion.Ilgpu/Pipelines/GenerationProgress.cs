namespace StableDiffusion.Ilgpu;

/// <summary>The stages of a generation.</summary>
public enum GenerationStage
{
    /// <summary>The prompts go through the text encoder.</summary>
    Text,

    /// <summary>The UNet removes noise, step by step.</summary>
    Sampling,

    /// <summary>The latents go through the autoencoder's decoder.</summary>
    Decoding,
}

/// <summary>How far a generation is.</summary>
/// <param name="Stage">The stage that is under way.</param>
/// <param name="Image">Index of the picture, from 0.</param>
/// <param name="ImageCount">Number of pictures of the request.</param>
/// <param name="Step">Model evaluations done in the sampling stage.</param>
/// <param name="StepCount">Model evaluations of one picture's sampling stage.</param>
public readonly record struct GenerationProgress(GenerationStage Stage, int Image, int ImageCount, int Step, int StepCount)
{
    /// <summary>Number of pictures that are under way together, <see cref="Image"/> the first of them.</summary>
    public int BatchSize { get; init; } = 1;

    /// <summary>
    /// The pictures that are under way as the model expects them at this step, without the noise that is left; null where
    /// <see cref="GenerationRequest.PreviewInterval"/> asks for none. Their <see cref="GeneratedImage.Parameters"/> are empty.
    /// </summary>
    public IReadOnlyList<GeneratedImage>? Previews { get; init; }

    /// <summary>
    /// The pictures with their noise, as the model sees them before its next step; null where
    /// <see cref="GenerationRequest.NoisyPreviewInterval"/> asks for none. Their <see cref="GeneratedImage.Parameters"/> are empty.
    /// </summary>
    public IReadOnlyList<GeneratedImage>? NoisyPreviews { get; init; }
}
