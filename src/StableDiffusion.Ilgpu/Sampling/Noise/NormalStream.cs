namespace StableDiffusion.Ilgpu.Sampling.Noise;

/// <summary>A seeded stream of standard normal numbers that other tools draw too. Not thread-safe.</summary>
internal abstract class NormalStream
{
    /// <summary>Starts the stream of a seed.</summary>
    public static NormalStream Create(NoiseGenerator generator, long seed) =>
        generator == NoiseGenerator.Cuda ? new PhiloxStream(seed) : new MersenneTwisterStream(seed);

    /// <summary>
    /// The next draw: what <c>torch.randn</c> would give for a tensor of this many elements, row-major (a latent: NCHW, one picture).
    /// How many elements one call asks for is part of the stream: two calls of n are not one of 2n.
    /// </summary>
    public abstract void Fill(Span<float> destination);
}
