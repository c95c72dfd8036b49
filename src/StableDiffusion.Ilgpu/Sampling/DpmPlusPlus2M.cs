namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>
/// DPM-Solver++(2M): the second-order multistep solver on x0 of Lu et al. 2022 (arXiv:2211.01095), algorithm 2.
/// <paramref name="heun"/> takes the trapezoidal form of the second-order term in place of the midpoint's.
/// </summary>
internal sealed class DpmPlusPlus2M(bool heun = false) : Sampler("dpm++2m", "DPM++ 2M")
{
    // Below this many steps the last one is of first order, for stability.
    private const int FewSteps = 15;

    public override IReadOnlyList<Scheduler> Schedulers { get; } = [Scheduler.Discrete, Scheduler.Karras];

    private protected override SamplingPlan PlanSteps(NoiseSchedule schedule, int steps, Scheduler scheduler)
    {
        var levels = NoiseLevels.ForDpmSolver(schedule, steps, scheduler);
        return new(levels.InitialScale, [.. Enumerable.Range(0, steps).Select(i => Step(schedule, levels, i))]);
    }

    private SamplingStep Step(NoiseSchedule schedule, NoiseLevels levels, int index)
    {
        var (sigma, next) = (levels.Sigmas[index], levels.Sigmas[index + 1]);
        var alpha = 1 / ((sigma * sigma) + 1);
        var scale = 1 / Math.Sqrt((next * next) + 1);
        var denoised = schedule.Denoised(alpha);

        // In the paper's terms λ = -log σ, h = λ(next) - λ and the gain is α(next) (1 - e^-h).
        var gain = scale * (1 - (next / sigma));
        var last = index == levels.Timesteps.Length - 1;
        var firstOrder = index == 0 || (last && (next == 0 || levels.Timesteps.Length < FewSteps));
        var slope = firstOrder ? 0 : Slope(levels.Sigmas[index - 1], sigma, next, gain, scale);
        return new(levels.Timesteps[index], 1)
        {
            DerivedFromLatent = denoised.Latent,
            DerivedFromModel = denoised.Model,
            Latent = next / sigma * scale / Math.Sqrt(alpha),
            History = firstOrder ? [gain] : [gain + slope, -slope],
        };
    }

    /// <summary>The factor of x0 minus the x0 before it.</summary>
    private double Slope(double previous, double sigma, double next, double gain, double scale)
    {
        var h = Math.Log(sigma / next);
        return h / Math.Log(previous / sigma) * (heun ? scale - (gain / h) : gain / 2);
    }
}
