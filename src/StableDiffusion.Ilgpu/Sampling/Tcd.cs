namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>
/// Strategic stochastic sampling of Zheng et al. 2024 (arXiv:2402.19159), algorithm 4, for trajectory consistency models: along the
/// trajectory to the level of (1 - eta) times the next timestep, then fresh noise up to the next one. It ends at training step 0.
/// </summary>
internal sealed class Tcd() : Sampler("tcd", "TCD")
{
    public override IReadOnlyList<Scheduler> Schedulers { get; } = [Scheduler.Discrete];

    public override double? DefaultEta => 0.3;

    private protected override SamplingPlan PlanSteps(PlanRequest run)
    {
        var timesteps = run.Schedule.ConsistencyTimesteps(run.Steps);
        return run.Plan(1, run.Steps, i => [Step(run.Schedule, i, timesteps, run.Eta)]);
    }

    private static SamplingStep Step(NoiseSchedule schedule, int index, int[] timesteps, double eta)
    {
        var nextTimestep = index + 1 < timesteps.Length ? timesteps[index + 1] : 0;
        var alpha = schedule.Alpha(timesteps[index]);
        var next = schedule.Alpha(nextTimestep);
        var reached = schedule.Alpha((int)Math.Floor((1 - eta) * nextTimestep));
        var x = Math.Sqrt(next / reached) * ((Math.Sqrt(reached) * schedule.Denoised(alpha)) + (Math.Sqrt(1 - reached) * schedule.Epsilon(alpha)));
        return SamplingStep.At(index, timesteps[index], alpha) with
        {
            Latent = x.Latent,
            History = [x.Model],
            Noise = Math.Sqrt(1 - (next / reached)),
            DrawsNoise = eta != 0 && index + 1 < timesteps.Length,
        };
    }
}
