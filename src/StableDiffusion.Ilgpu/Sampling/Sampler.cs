using StableDiffusion.Ilgpu.Sampling;

namespace StableDiffusion.Ilgpu;

/// <summary>
/// A way of walking from noise to a picture. The instances are listed in <see cref="Samplers"/>.
/// A sampler holds no state: <see cref="Plan"/> gives all its numbers before the first step is taken.
/// </summary>
public abstract class Sampler
{
    private protected Sampler(string name, string displayName, params string[] aliases) =>
        (Name, DisplayName, Aliases) = (name, displayName, aliases);

    /// <summary>The short name of command lines, for example <c>euler_a</c>.</summary>
    public string Name { get; }

    /// <summary>The name that pictures' metadata carry, for example <c>Euler a</c>.</summary>
    public string DisplayName { get; }

    /// <summary>Other short names that mean this sampler.</summary>
    public IReadOnlyList<string> Aliases { get; }

    /// <summary>The schedules this sampler is defined for.</summary>
    public virtual IReadOnlyList<Scheduler> Schedulers => SchedulerNames.All;

    /// <summary>What users of other tools call normal: for a sampler that is defined on training steps its only schedule.</summary>
    internal Scheduler NormalScheduler => Schedulers.Contains(Scheduler.Normal) ? Scheduler.Normal : Scheduler.Discrete;

    /// <summary>The share of fresh noise, 0 to 1, where none is asked for; null for a sampler that has no such choice.</summary>
    public virtual double? DefaultEta => null;

    /// <summary>What pictures' metadata call it.</summary>
    internal virtual string EtaKey => "Eta";

    /// <summary>All coefficients of a run.</summary>
    /// <param name="schedule">The model's noise levels.</param>
    /// <param name="steps">Number of steps from noise to picture.</param>
    /// <param name="scheduler">The spacing of the levels.</param>
    /// <param name="firstStep">
    /// The step to begin with, from 0. The plan is that of a run that starts there: nothing is remembered from the steps before.
    /// </param>
    /// <param name="eta">The share of fresh noise; null for <see cref="DefaultEta"/>.</param>
    /// <exception cref="StableDiffusionException">A value is not one that this sampler can run.</exception>
    internal SamplingPlan Plan(NoiseSchedule schedule, int steps, Scheduler scheduler, int firstStep = 0, double? eta = null)
    {
        // One training step to spare: DPM-Solvers space one step more than they take.
        var most = schedule.TrainSteps - 1;
        if (steps < 1 || steps > most)
        {
            throw new StableDiffusionException($"steps {NumberText.Of(steps)}: choose 1 to {most}");
        }

        ArgumentOutOfRangeException.ThrowIfNegative(firstStep);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(firstStep, steps);
        CheckScheduler(scheduler);
        CheckEta(eta);
        return PlanSteps(new PlanRequest(schedule, steps, scheduler, firstStep, eta ?? DefaultEta ?? 0));
    }

    /// <summary>Refuses a schedule that this sampler is not defined for.</summary>
    internal void CheckScheduler(Scheduler scheduler)
    {
        if (!Schedulers.Contains(scheduler))
        {
            throw new StableDiffusionException(
                $"sampler {Name} has no {SchedulerNames.NameOf(scheduler)} schedule: choose {string.Join(", ", Schedulers.Select(SchedulerNames.NameOf))}");
        }
    }

    /// <summary>Refuses a share of noise that is out of range or not this sampler's to choose; null is always right.</summary>
    internal void CheckEta(double? eta)
    {
        if (eta is not null && DefaultEta is null)
        {
            var names = Samplers.All.Where(s => s.DefaultEta is not null).Select(s => s.Name);
            throw new StableDiffusionException($"sampler {Name} takes no eta: leave it out or choose one of {string.Join(", ", names)}");
        }

        if (eta is { } share && !(share >= 0 && share <= 1))
        {
            throw new StableDiffusionException($"eta {NumberText.Of(share)}: choose 0 to 1");
        }
    }

    private protected abstract SamplingPlan PlanSteps(PlanRequest run);

    /// <summary>The display name.</summary>
    public override string ToString() => DisplayName;
}
