namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>
/// Ho et al. 2020 (arXiv:2006.11239), equations 6 and 7, over strides of the training steps. The variance of the fresh noise is that of the
/// posterior or, with <paramref name="largeVariance"/>, β.
/// </summary>
internal sealed class Ddpm(bool largeVariance = false) : Sampler("ddpm", "DDPM")
{
    // The last step's variance would be 0; diffusers keeps its logarithm finite.
    private const double SmallestVariance = 1e-20;

    public override IReadOnlyList<Scheduler> Schedulers { get; } = [Scheduler.Discrete];

    private protected override SamplingPlan PlanSteps(PlanRequest run)
    {
        var schedule = run.Schedule;
        var timesteps = schedule.WholeTimesteps(schedule.Spacing ?? TimestepSpacing.Leading, run.Steps);
        return run.Plan(1, run.Steps, i => [Step(schedule, i, timesteps[i], timesteps[i] - (schedule.TrainSteps / run.Steps))]);
    }

    private SamplingStep Step(NoiseSchedule schedule, int index, int timestep, int nextTimestep)
    {
        var alpha = schedule.Alpha(timestep);
        var next = nextTimestep >= 0 ? schedule.Alpha(nextTimestep) : 1;
        var beta = 1 - (alpha / next);
        var x = Math.Sqrt(next) * beta / (1 - alpha) * schedule.Denoised(alpha);
        var variance = largeVariance ? beta : Math.Max((1 - next) / (1 - alpha) * beta, SmallestVariance);
        return SamplingStep.At(index, timestep, alpha) with
        {
            Latent = x.Latent + (Math.Sqrt(1 - beta) * (1 - next) / (1 - alpha)),
            History = [x.Model],
            Noise = timestep > 0 ? Math.Sqrt(variance) : 0,
        };
    }
}
