namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>
/// Song et al. 2020 (arXiv:2010.02502), equation 12; eta 0 draws no noise, 1 is DDPM's variance. <paramref name="spacing"/> takes the place of
/// the model's own.
/// </summary>
internal sealed class Ddim(string name = "ddim", string displayName = "DDIM", TimestepSpacing? spacing = null) : Sampler(name, displayName)
{
    public override IReadOnlyList<Scheduler> Schedulers { get; } = [Scheduler.Discrete];

    public override double? DefaultEta => 0;

    internal override string EtaKey => "Eta DDIM";

    private protected override SamplingPlan PlanSteps(PlanRequest run)
    {
        var schedule = run.Schedule;
        var timesteps = schedule.WholeTimesteps(spacing ?? schedule.Spacing ?? TimestepSpacing.Leading, run.Steps);
        return run.Plan(1, run.Steps, i => [Step(schedule, i, timesteps[i], timesteps[i] - (schedule.TrainSteps / run.Steps), run.Eta)]);
    }

    private static SamplingStep Step(NoiseSchedule schedule, int index, int timestep, int nextTimestep, double eta)
    {
        var alpha = schedule.Alpha(timestep);
        var next = nextTimestep >= 0 ? schedule.Alpha(nextTimestep) : (schedule.SetAlphaToOne ?? true) ? 1 : schedule.Alpha(0);
        var noise = eta == 0 ? 0 : eta * Math.Sqrt((1 - next) / (1 - alpha) * (1 - (alpha / next)));
        var x = (Math.Sqrt(next) * schedule.Denoised(alpha)) + (Math.Sqrt(1 - next - (noise * noise)) * schedule.Epsilon(alpha));
        return SamplingStep.At(index, timestep, alpha) with { Latent = x.Latent, History = [x.Model], Noise = noise, DrawsNoise = eta != 0 };
    }
}
