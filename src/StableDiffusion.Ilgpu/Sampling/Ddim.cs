namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>Song et al. 2020 (arXiv:2010.02502), equation 12; <paramref name="eta"/> 0 draws no noise, 1 is DDPM's variance.</summary>
internal sealed class Ddim(double eta = 0) : Sampler("ddim", "DDIM")
{
    public override IReadOnlyList<Scheduler> Schedulers { get; } = [Scheduler.Discrete];

    private protected override SamplingPlan PlanSteps(NoiseSchedule schedule, int steps, Scheduler scheduler)
    {
        var timesteps = schedule.WholeTimesteps(schedule.Spacing ?? TimestepSpacing.Leading, steps);
        return new(1, [.. timesteps.Select(t => Step(schedule, t, t - (schedule.TrainSteps / steps)))]);
    }

    private SamplingStep Step(NoiseSchedule schedule, int timestep, int nextTimestep)
    {
        var alpha = schedule.Alpha(timestep);
        var next = nextTimestep >= 0 ? schedule.Alpha(nextTimestep) : (schedule.SetAlphaToOne ?? true) ? 1 : schedule.Alpha(0);
        var noise = eta == 0 ? 0 : eta * Math.Sqrt((1 - next) / (1 - alpha) * (1 - (alpha / next)));
        var x = (Math.Sqrt(next) * schedule.Denoised(alpha)) + (Math.Sqrt(1 - next - (noise * noise)) * schedule.Epsilon(alpha));
        return new(timestep, 1) { Keep = false, Latent = x.Latent, History = [x.Model], Noise = noise, DrawsNoise = eta != 0 };
    }
}
