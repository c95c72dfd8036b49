namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>Euler's method on dx/dσ = ε (Karras et al. 2022, arXiv:2206.00364, algorithm 2 without churn).</summary>
internal sealed class Euler() : Sampler("euler", "Euler")
{
    public override IReadOnlyList<Scheduler> Schedulers { get; } = [Scheduler.Discrete, Scheduler.Karras];

    private protected override SamplingPlan PlanSteps(NoiseSchedule schedule, int steps, Scheduler scheduler)
    {
        var levels = NoiseLevels.ForEuler(schedule, steps, scheduler, schedule.FinalSigma);
        return new(levels.InitialScale, [.. Enumerable.Range(0, steps).Select(i => levels.EulerStep(schedule, i, levels.Sigmas[i + 1]))]);
    }
}
