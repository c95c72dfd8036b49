namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>
/// Euler's method to a level below the next one, then fresh noise up to it: k-diffusion's ancestral sampling with its share of noise
/// η = 1. The last step asks for noise too and adds none.
/// </summary>
internal sealed class EulerAncestral() : Sampler("euler_a", "Euler a")
{
    public override IReadOnlyList<Scheduler> Schedulers { get; } = [Scheduler.Discrete, Scheduler.Karras];

    private protected override SamplingPlan PlanSteps(NoiseSchedule schedule, int steps, Scheduler scheduler)
    {
        var levels = NoiseLevels.ForEuler(schedule, steps, scheduler, finalSigma: 0);
        return new(levels.InitialScale, [.. Enumerable.Range(0, steps).Select(i => Step(schedule, levels, i))]);
    }

    private static SamplingStep Step(NoiseSchedule schedule, NoiseLevels levels, int index)
    {
        var (from, to) = (levels.Sigmas[index], levels.Sigmas[index + 1]);
        var up = to / from * Math.Sqrt((from * from) - (to * to));
        var down = to * to / from;
        return levels.EulerStep(schedule, index, down) with { Noise = up, DrawsNoise = true };
    }
}
