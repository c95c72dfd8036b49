namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>
/// Everything a run needs to know about its sampler, as data: the pipeline and the device interpret it, neither knows any sampler.
/// </summary>
/// <param name="InitialNoiseScale">The run starts from standard normal noise times this.</param>
/// <param name="Steps">The model evaluations, in order. There may be more than the user asked for (Heun's method takes two a step).</param>
internal sealed record SamplingPlan(double InitialNoiseScale, IReadOnlyList<SamplingStep> Steps)
{
    /// <summary>What a run that begins with a picture starts from.</summary>
    public NoiseMix Start => Steps[0].Start;

    /// <summary>What a known part of the picture is under after the last step: no noise, unless the plan is only the beginning of one.</summary>
    public NoiseMix End { get; init; } = new(1, 0);
}

/// <summary>A picture's latent x0 under noise: Signal * x0 + Noise * n, with n standard normal noise.</summary>
internal readonly record struct NoiseMix(double Signal, double Noise);

/// <summary>
/// One model evaluation and the linear update that follows it. With x the latent, m the model's (guided) output for
/// x * <see cref="InputScale"/> at <see cref="Timestep"/>, n fresh standard normal noise, s the saved latent and
/// h[0], h[1], … the history, newest first:
/// <code>
/// d  = DerivedFromLatent * x + DerivedFromModel * m       what this sampler remembers (ε, x0 or the model's output)
/// if Save:  s = x
/// push d to the front of h  (if Keep; otherwise d stands in front for this step only, as h[0])
/// x  = Latent * x + Saved * s + sum_i History[i] * h[i] + Noise * n
/// drop the Forget newest entries of h
/// </code>
/// All x in the formulas are the latent from before the step, and s is read after it was saved. Only what a coefficient that is not zero
/// stands before may be read: s and h start out unwritten.
/// </summary>
internal sealed record SamplingStep(double Timestep, double InputScale)
{
    /// <summary>Which of the steps that the user asked for this evaluation belongs to, from 0.</summary>
    public required int Index { get; init; }

    /// <summary>
    /// How a picture's latent is noised to take the latent's place before this step. Between two of the user's steps it is the second one's,
    /// as in diffusers.
    /// </summary>
    public required NoiseMix Start { get; init; }

    public double DerivedFromLatent { get; init; }
    public double DerivedFromModel { get; init; } = 1;
    public bool Save { get; init; }
    public bool Keep { get; init; } = true;
    public double Latent { get; init; }
    public double Saved { get; init; }

    /// <summary>Coefficients of the history, newest (this step's d) first; at most <see cref="MaxTerms"/>.</summary>
    public double[] History { get; init; } = [];

    /// <summary>How many of the newest history entries no later step reads; older ones move up in their place.</summary>
    public int Forget { get; init; }

    /// <summary>Zero where the step draws no noise; a step draws exactly when this is not zero or <see cref="DrawsNoise"/> is set.</summary>
    public double Noise { get; init; }

    /// <summary>True where the sampler asks the generator for noise, even if its coefficient is zero (so that the stream stays in step).</summary>
    public bool DrawsNoise { get; init; }

    /// <summary>Most entries of <see cref="History"/>.</summary>
    public const int MaxTerms = 4;

    /// <summary>Most values that are alive at once: the history and, where it is not kept, the step's own d. Older entries may be overwritten.</summary>
    public const int MaxHistory = 6;

    /// <summary>An evaluation at a whole training step of √ᾱ x0 + √(1 - ᾱ) ε, whose output is used as it is and not remembered.</summary>
    public static SamplingStep At(int index, int timestep, double alpha) =>
        new(timestep, 1) { Index = index, Start = new(Math.Sqrt(alpha), Math.Sqrt(1 - alpha)), Keep = false };
}
