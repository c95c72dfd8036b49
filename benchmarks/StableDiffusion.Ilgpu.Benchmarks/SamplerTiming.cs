namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary>What a sampler's step takes beside the UNet, in milliseconds.</summary>
/// <param name="Noise">Drawn by the processor, which a GPU's UNet does not wait for.</param>
/// <param name="Rest">Putting back the time embeddings, the UNet's input, noise to the device, guidance and the update: the mean of steps in a row.</param>
internal sealed record SamplerTiming(double Noise, double Rest)
{
    /// <summary>What of it makes a step longer.</summary>
    /// <param name="step">Milliseconds of the UNet's step.</param>
    /// <param name="drawsMeanwhile">Whether the processor draws while the device computes.</param>
    public double Beside(double step, bool drawsMeanwhile) => Rest + (drawsMeanwhile ? Math.Max(0, Noise - step) : Noise);
}
