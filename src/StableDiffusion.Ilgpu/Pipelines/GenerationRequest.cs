using StableDiffusion.Ilgpu.Sampling;

namespace StableDiffusion.Ilgpu;

/// <summary>What to draw and how. Unset sizes take the model's own native size.</summary>
public sealed record GenerationRequest
{
    /// <summary>What the picture shows; may be empty.</summary>
    public required string Prompt { get; init; }

    /// <summary>What the picture should not show.</summary>
    public string NegativePrompt { get; init; } = "";

    /// <summary>Width in pixels, a multiple of 8.</summary>
    public int? Width { get; init; }

    /// <summary>Height in pixels, a multiple of 8.</summary>
    public int? Height { get; init; }

    /// <summary>Number of sampling steps, at least 1.</summary>
    public int Steps { get; init; } = 20;

    /// <summary>Classifier-free guidance scale; at 1 only the prompt is evaluated.</summary>
    public double GuidanceScale { get; init; } = 7;

    /// <summary>Seed of the first picture; picture i of a batch has seed + i.</summary>
    public long Seed { get; init; } = 42;

    /// <summary>How many pictures to make.</summary>
    public int BatchCount { get; init; } = 1;

    /// <summary>The sampler, one of <see cref="Samplers.All"/>.</summary>
    public Sampler Sampler { get; init; } = Samplers.EulerAncestral;

    /// <summary>The spacing of the noise levels.</summary>
    public Scheduler Scheduler { get; init; } = Scheduler.Discrete;

    /// <summary>Which generator turns the seed into noise.</summary>
    public NoiseGenerator NoiseGenerator { get; init; } = NoiseGenerator.Cuda;
}

/// <summary>The generators whose noise other tools give for a seed.</summary>
public enum NoiseGenerator
{
    /// <summary>Philox 4x32-10, as PyTorch draws on a CUDA device.</summary>
    Cuda,

    /// <summary>Mersenne twister, as PyTorch draws on the CPU.</summary>
    Cpu,
}
