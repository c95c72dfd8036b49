using StableDiffusion.Ilgpu.Sampling;

namespace StableDiffusion.Ilgpu;

/// <summary>
/// A way of walking from noise to a picture. The instances are listed in <see cref="Samplers"/>.
/// A sampler holds no state: <see cref="Plan"/> gives all its numbers before the first step is taken.
/// </summary>
public abstract class Sampler
{
    private protected Sampler(string name, string displayName) => (Name, DisplayName) = (name, displayName);

    /// <summary>The short name of command lines, for example <c>euler_a</c>.</summary>
    public string Name { get; }

    /// <summary>The name that pictures' metadata carry, for example <c>Euler a</c>.</summary>
    public string DisplayName { get; }

    /// <summary>Other short names that mean this sampler.</summary>
    public virtual IReadOnlyList<string> Aliases => [];

    /// <summary>The schedules this sampler is defined for.</summary>
    public abstract IReadOnlyList<Scheduler> Schedulers { get; }

    /// <summary>All coefficients of a run of <paramref name="steps"/> steps.</summary>
    /// <exception cref="StableDiffusionException">The number of steps or the scheduler is not one that this sampler can run.</exception>
    internal SamplingPlan Plan(NoiseSchedule schedule, int steps, Scheduler scheduler, int firstStep = 0)
    {
        // One training step to spare: DPM-Solvers space one step more than they take.
        var most = schedule.TrainSteps - 1;
        if (steps < 1 || steps > most)
        {
            throw new StableDiffusionException($"steps {steps}: choose 1 to {most}");
        }

        if (!Schedulers.Contains(scheduler))
        {
            throw new StableDiffusionException(
                $"sampler {Name} has no {SchedulerNames.NameOf(scheduler)} schedule: choose {string.Join(", ", Schedulers.Select(SchedulerNames.NameOf))}");
        }

        var all = PlanSteps(schedule, steps, scheduler);
        var sigma = schedule.Sigma(all.Steps[firstStep].Timestep);
        var signal = 1 / (Math.Sqrt((sigma * sigma) + 1) * all.Steps[firstStep].InputScale);
        return all with { Steps = [.. all.Steps.Skip(firstStep)], Start = new(signal, signal * sigma) };
    }

    private protected abstract SamplingPlan PlanSteps(NoiseSchedule schedule, int steps, Scheduler scheduler);

    /// <summary>The display name.</summary>
    public override string ToString() => DisplayName;
}

/// <summary>How the noise levels of a run are spaced.</summary>
public enum Scheduler
{
    /// <summary>The levels of the model's own training steps, spaced as its scheduler configuration says.</summary>
    Discrete,

    /// <summary>The spacing of Karras et al. 2022 (arXiv:2206.00364, equation 5, rho 7).</summary>
    Karras,
}
