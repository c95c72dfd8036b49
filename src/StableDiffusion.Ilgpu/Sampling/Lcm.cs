namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>
/// Luo et al. 2023 (arXiv:2310.04378), algorithm 3, for latent consistency models: each evaluation's x0, mixed with the latent by the
/// boundary condition, is noised anew to the next level.
/// </summary>
internal sealed class Lcm() : Sampler("lcm", "LCM")
{
    // The standard deviation of latents that the boundary condition was trained with.
    private const double SigmaData = 0.5;

    public override IReadOnlyList<Scheduler> Schedulers { get; } = [Scheduler.Discrete];

    private protected override SamplingPlan PlanSteps(PlanRequest run)
    {
        var timesteps = run.Schedule.ConsistencyTimesteps(run.Steps);
        return run.Plan(1, run.Steps, i => [Step(run.Schedule, i, timesteps)]);
    }

    private static SamplingStep Step(NoiseSchedule schedule, int index, int[] timesteps)
    {
        var alpha = schedule.Alpha(timesteps[index]);
        var next = index + 1 < timesteps.Length ? schedule.Alpha(timesteps[index + 1]) : 1;
        var time = timesteps[index] * schedule.TimestepScaling;
        var squares = (time * time) + (SigmaData * SigmaData);
        var skip = new Linear(SigmaData * SigmaData / squares, 0);
        var x = Math.Sqrt(next) * ((time / Math.Sqrt(squares) * schedule.Denoised(alpha)) + skip);
        return SamplingStep.At(index, timesteps[index], alpha) with { Latent = x.Latent, History = [x.Model], Noise = Math.Sqrt(1 - next) };
    }
}
