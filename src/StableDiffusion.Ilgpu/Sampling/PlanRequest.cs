namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>What a sampler makes a plan from.</summary>
/// <param name="Schedule">The model's noise levels.</param>
/// <param name="Steps">Number of steps from noise to picture.</param>
/// <param name="Scheduler">The spacing of the levels.</param>
/// <param name="FirstStep">The step to begin with, from 0; those before it are left out.</param>
/// <param name="Eta">The share of fresh noise, 0 to 1; 0 for a sampler that has none.</param>
internal sealed record PlanRequest(NoiseSchedule Schedule, int Steps, Scheduler Scheduler, int FirstStep, double Eta)
{
    /// <summary>A plan over <paramref name="count"/> steps, from which those before the first one are left out.</summary>
    public SamplingPlan Plan(double initialNoiseScale, int count, Func<int, IEnumerable<SamplingStep>> step) => FirstStep < count
        ? new(initialNoiseScale, [.. Enumerable.Range(FirstStep, count - FirstStep).SelectMany(step)])
        : throw new StableDiffusionException(
            $"schedule {SchedulerNames.NameOf(Scheduler)} has {count} different levels for {Steps} steps; the run cannot begin at step {FirstStep + 1}");
}
