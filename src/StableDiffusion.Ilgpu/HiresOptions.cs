namespace StableDiffusion.Ilgpu;

/// <summary>A second pass in a larger size: what the first drew is enlarged and drawn again from a later noise level.</summary>
public sealed record HiresOptions
{
    /// <summary>How many times as wide and high the picture becomes; sides are rounded to multiples of 8.</summary>
    public double Scale { get; init; } = 2;

    /// <summary>What is enlarged, and how.</summary>
    public HiresUpscaler Upscaler { get; init; }

    /// <summary>
    /// Sampling steps that the second pass takes, whatever its strength: the last ones of so long a schedule that they begin at its noise level. Null for
    /// as many as the request's.
    /// </summary>
    public int? Steps { get; init; }

    /// <summary>The noise level that the second pass begins at, above 0, up to 1 for noise alone.</summary>
    public double DenoisingStrength { get; init; } = 0.7;

    internal void Validate()
    {
        if (!(Scale >= 1 && Scale <= 16))
        {
            throw new StableDiffusionException($"hires scale {NumberText.Of(Scale)} cannot be used; valid: 1 to 16");
        }

        if (!(DenoisingStrength > 0 && DenoisingStrength <= 1))
        {
            throw new StableDiffusionException($"hires denoising strength {NumberText.Of(DenoisingStrength)} cannot be used; valid: above 0, up to 1");
        }

        GenerationRequest.CheckDefined("hires upscaler", Upscaler);
        if (Steps < 1)
        {
            throw new StableDiffusionException($"hires steps {NumberText.Of(Steps)} cannot be used; valid: 1 or more");
        }
    }
}

/// <summary>How the second pass gets its size.</summary>
public enum HiresUpscaler
{
    /// <summary>The latent, linearly.</summary>
    Latent,

    /// <summary>The latent, by repeating its pixels.</summary>
    LatentNearest,

    /// <summary>
    /// The picture, by a Lanczos filter: the latent is decoded, and the mean of what the autoencoder makes of the larger picture drawn again.
    /// </summary>
    Lanczos,

    /// <summary>The same by repeating the picture's pixels.</summary>
    Nearest,
}
