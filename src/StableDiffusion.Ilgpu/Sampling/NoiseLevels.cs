namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>The noise levels of a run, for samplers that think in σ = √((1 - ᾱ) / ᾱ), and the evaluations at these.</summary>
/// <param name="Schedule">The model's own levels.</param>
/// <param name="Timesteps">What the model is told at each level.</param>
/// <param name="Sigmas">The levels, noisiest first, and the one where the run ends.</param>
/// <param name="InitialScale">What standard normal noise is multiplied with to start.</param>
internal sealed record NoiseLevels(NoiseSchedule Schedule, double[] Timesteps, double[] Sigmas, double InitialScale)
{
    /// <summary>Number of levels that the model is evaluated at: the user's steps.</summary>
    public int Count => Timesteps.Length;

    /// <summary>The levels of k-diffusion's samplers, for latents x0 + σ ε: timesteps keep their fractions.</summary>
    public static NoiseLevels ForKDiffusion(PlanRequest run, double finalSigma = 0)
    {
        var schedule = run.Schedule;
        var spacing = schedule.Spacing ?? TimestepSpacing.Linspace;
        var timesteps = schedule.Timesteps(spacing, run.Steps);
        var sigmas = timesteps.Select(schedule.Sigma).ToArray();

        // Leading spacing leaves the noisiest steps out, so the picture's own variance counts at the start.
        var scale = spacing == TimestepSpacing.Leading ? Math.Sqrt((sigmas[0] * sigmas[0]) + 1) : sigmas[0];
        if (run.Scheduler == Scheduler.Discrete)
        {
            return new(schedule, timesteps, [.. sigmas, finalSigma], scale);
        }

        // Karras's spacing takes the ends that the configuration's own has; the others span all of training, as in the tools they come from.
        var karras = run.Scheduler == Scheduler.Karras;
        sigmas = karras ? SigmaSpacing.Karras(sigmas[0], sigmas[^1], run.Steps) : SigmaSpacing.Of(run.Scheduler, schedule, run.Steps);
        return new(schedule, [.. sigmas.Select(schedule.Timestep)], [.. sigmas, finalSigma], karras ? scale : sigmas[0]);
    }

    /// <summary>The levels of the DPM-Solvers and their kin, for latents of unit variance: whole timesteps, where these are diffusers' own.</summary>
    public static NoiseLevels ForDpmSolver(PlanRequest run, double finalSigma, TimestepSpacing? fixedSpacing = null)
    {
        var schedule = run.Schedule;
        if (run.Scheduler == Scheduler.Discrete)
        {
            // Step 0 is spaced as one more step and left out: it is where the run ends.
            var spacing = fixedSpacing ?? schedule.Spacing ?? TimestepSpacing.Linspace;
            var timesteps = spacing == TimestepSpacing.Trailing
                ? schedule.WholeTimesteps(spacing, run.Steps)
                : schedule.WholeTimesteps(spacing, run.Steps + 1)[..run.Steps];
            return new(schedule, [.. timesteps.Select(t => (double)t)], [.. timesteps.Select(t => schedule.Sigma(t)), finalSigma], 1);
        }

        var sigmas = SigmaSpacing.Of(run.Scheduler, schedule, run.Steps);
        var levels = new NoiseLevels(schedule, [.. sigmas.Select(schedule.Timestep)], [.. sigmas, finalSigma], 1);
        return run.Scheduler == Scheduler.Karras ? levels.WithWholeTimesteps() : levels;
    }

    public NoiseLevels WithWholeTimesteps() => this with { Timesteps = [.. Timesteps.Select(t => Math.Round(t))] };

    /// <summary>
    /// The evaluation at a level of a latent x0 + σ ε. The step remembers what <paramref name="derived"/> (the schedule's Epsilon, which is
    /// dx/dσ, or Denoised) makes of the output; where the latent goes is for the sampler to say.
    /// </summary>
    public SamplingStep Evaluate(int index, Func<double, Linear> derived) => Evaluate(index, derived, Timesteps[index], Sigmas[index]);

    /// <summary>The same at a sigma between a level and the next.</summary>
    public SamplingStep EvaluateBetween(int index, double sigma, Func<double, Linear> derived) =>
        Evaluate(index, derived, Schedule.Timestep(sigma), sigma) with { Start = new(1, Sigmas[index + 1]) };

    /// <summary>
    /// A step of x0 + σ ε from a level to the next, for latents of unit variance: the model's input, x / √(σ² + 1). What was saved had
    /// the level <paramref name="saved"/>.
    /// </summary>
    public SamplingStep WithUnitVariance(SamplingStep step, int index, int saved)
    {
        double Scale(int level) => 1 / Math.Sqrt((Sigmas[level] * Sigmas[level]) + 1);
        var (from, to) = (Scale(index), Scale(index + 1));
        return step with
        {
            InputScale = 1,
            Start = new(from, Sigmas[index] * from),
            DerivedFromLatent = step.DerivedFromLatent / from,
            Latent = step.Latent * to / from,
            Saved = step.Saved * to / Scale(saved),
            History = [.. step.History.Select(f => f * to)],
            Noise = step.Noise * to,
        };
    }

    /// <summary>
    /// k-diffusion's ancestral step between two sigmas: where a step without noise goes to, and the noise that then leads up to the second.
    /// </summary>
    public static (double Down, double Up) Ancestral(double from, double to, double eta)
    {
        var up = Math.Min(to, eta * to / from * Math.Sqrt((from * from) - (to * to)));
        return (Math.Sqrt((to * to) - (up * up)), up);
    }

    private static SamplingStep Evaluate(int index, Func<double, Linear> derived, double timestep, double sigma)
    {
        var alpha = 1 / ((sigma * sigma) + 1);
        var value = derived(alpha);
        return new(timestep, Math.Sqrt(alpha))
        {
            Index = index,
            Start = new(1, sigma),
            DerivedFromLatent = value.Latent * Math.Sqrt(alpha),
            DerivedFromModel = value.Model,
        };
    }
}
