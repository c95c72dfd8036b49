using StableDiffusion.Ilgpu.Benchmarks.Serving;

namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary>GFLOP that a model needs, counted from the published architecture.</summary>
/// <param name="Step">Of a UNet step with guidance.</param>
/// <param name="Decode">Of a VAE decode.</param>
internal sealed record KnownWork(double Step, double Decode)
{
    /// <summary>The share of 1 that the launches' operations may differ from what the model is known to need.</summary>
    public const double Tolerance = 0.01;

    /// <summary>Of a step for so many pictures and the decode of one; null where nobody counted it.</summary>
    public static KnownWork? Of(string model, int size, int pictures) => (model, size) == ("sd15", 512) ? new KnownWork(pictures * 1607.0, 2514) : null;

    /// <exception cref="StableDiffusionException">The launches do not add up to the model's work.</exception>
    public void Check(Work work, double gflop)
    {
        var known = work == Work.UNetStep ? Step : Decode;
        if (Math.Abs(gflop - known) > Tolerance * known)
        {
            throw new StableDiffusionException(
                $"{work}: the launches state {gflop:0.0} GFLOP, the model needs {known:0}: no speed is printed");
        }
    }
}
