using StableDiffusion.Ilgpu.Sampling;

namespace StableDiffusion.Ilgpu;

/// <summary>The list of samplers. A new one is one file beside this one and one line here.</summary>
public static class Samplers
{
    /// <summary>Denoising diffusion implicit models, without noise.</summary>
    public static Sampler Ddim { get; } = new Ddim();

    /// <summary>Euler's method.</summary>
    public static Sampler Euler { get; } = new Euler();

    /// <summary>Euler's method with ancestral noise.</summary>
    public static Sampler EulerAncestral { get; } = new EulerAncestral();

    /// <summary>DPM-Solver++ of second order, multistep.</summary>
    public static Sampler DpmPlusPlus2M { get; } = new DpmPlusPlus2M();

    /// <summary>Pseudo linear multistep.</summary>
    public static Sampler Pndm { get; } = new Pndm();

    /// <summary>Every sampler.</summary>
    public static IReadOnlyList<Sampler> All { get; } = [Ddim, Euler, EulerAncestral, DpmPlusPlus2M, Pndm];

    /// <summary>The sampler of a short name, an alias or a display name, in any case.</summary>
    /// <exception cref="StableDiffusionException">There is none; the message lists the short names and aliases.</exception>
    public static Sampler Find(string name)
    {
        bool IsName(string known) => string.Equals(known, name, StringComparison.OrdinalIgnoreCase);
        return All.FirstOrDefault(s => IsName(s.Name) || IsName(s.DisplayName) || s.Aliases.Any(IsName))
            ?? throw new StableDiffusionException(
                $"unknown sampler \"{name}\": choose one of {string.Join(", ", All.SelectMany(s => s.Aliases.Prepend(s.Name)))}");
    }
}
