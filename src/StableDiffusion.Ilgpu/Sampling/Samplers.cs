namespace StableDiffusion.Ilgpu;

/// <summary>The list of samplers. A new one is one file beside this one and one line here.</summary>
public static class Samplers
{
    /// <summary>Euler's method with ancestral noise.</summary>
    public static Sampler EulerAncestral => All[0];

    /// <summary>Every sampler.</summary>
    public static IReadOnlyList<Sampler> All { get; } = [];
}
