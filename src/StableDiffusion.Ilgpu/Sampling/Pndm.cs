namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>
/// Pseudo linear multistep steps on ε (Liu et al. 2022, arXiv:2202.09778). They start from one step taken twice, or, where the
/// model's configuration does not skip it, from three Runge-Kutta steps of four evaluations.
/// </summary>
internal sealed class Pndm() : Sampler("pndm", "PLMS", "plms")
{
    private const int RungeKuttaSteps = 3;

    /// <summary>Adams-Bashforth weights of the newest outputs by how many there are.</summary>
    private static readonly double[][] Multistep =
        [[1], [3 / 2.0, -1 / 2.0], [23 / 12.0, -16 / 12.0, 5 / 12.0], [55 / 24.0, -59 / 24.0, 37 / 24.0, -9 / 24.0]];

    public override IReadOnlyList<Scheduler> Schedulers { get; } = [Scheduler.Discrete];

    private protected override SamplingPlan PlanSteps(PlanRequest run)
    {
        var schedule = run.Schedule;
        var stride = schedule.TrainSteps / run.Steps;
        var timesteps = schedule.WholeTimesteps(schedule.Spacing ?? TimestepSpacing.Leading, run.Steps);
        if (!schedule.SkipPrkSteps)
        {
            return new(1, [.. WithRungeKutta(run, timesteps, stride)]);
        }

        // The second timestep stands twice in the list. A later start counts from there, as in diffusers: its second evaluation then goes
        // back to where the first one began, though the list goes on behind it.
        int[] visits = run.Steps == 1 ? timesteps : [timesteps[0], .. timesteps[1..2], .. timesteps[1..]];
        return new(1, [.. visits.Skip(run.FirstStep).Select((t, count) => count switch
        {
            0 => Step(schedule, Index(count), t, t, t - stride, Multistep[0]) with { Save = true },
            1 => Step(schedule, Index(count), t, t + stride, t, [1 / 2.0, 1 / 2.0], saved: true) with { Keep = false },
            _ => Step(schedule, Index(count), t, t, t - stride, Multistep[Math.Min(count, Multistep.Length) - 1]),
        })]);

        int Index(int count) => Math.Max(0, run.FirstStep + count - 1);
    }

    /// <summary>Each Runge-Kutta step's first output stays for the multistep formula; those at its middle are forgotten with the step.</summary>
    private static IEnumerable<SamplingStep> WithRungeKutta(PlanRequest run, int[] timesteps, int stride)
    {
        if (timesteps.Length - run.FirstStep <= RungeKuttaSteps)
        {
            throw new StableDiffusionException(
                $"steps {timesteps.Length - run.FirstStep}: PLMS needs at least {RungeKuttaSteps + 1} with this model (its skip_prk_steps is false)");
        }

        var schedule = run.Schedule;
        for (var i = run.FirstStep; i < run.FirstStep + RungeKuttaSteps; i++)
        {
            var from = timesteps[i];
            var to = timesteps[i + 1];
            var middle = to + (stride / 2);
            yield return Step(schedule, i, from, from, from - (stride / 2), [1]) with { Save = true };
            yield return Step(schedule, i, middle, from, middle, [1], saved: true);
            yield return Step(schedule, i, middle, from, middle - (stride / 2), [1], saved: true);
            yield return Step(schedule, i, to, from, to, [1 / 6.0, 1 / 3.0, 1 / 3.0, 1 / 6.0], saved: true) with { Keep = false, Forget = 2 };
        }

        for (var i = run.FirstStep + RungeKuttaSteps; i < timesteps.Length; i++)
        {
            yield return Step(schedule, i, timesteps[i], timesteps[i], timesteps[i] - stride, Multistep[^1]);
        }
    }

    /// <summary>
    /// Equation 11 with the weighted outputs: from level <paramref name="from"/> of the latent, or of the saved one, to level
    /// <paramref name="to"/>. A v is turned into ε as a whole, with that latent.
    /// </summary>
    private static SamplingStep Step(NoiseSchedule schedule, int index, int timestep, int from, int to, double[] weights, bool saved = false)
    {
        var alpha = schedule.AlphaBeforeRescaling(from);
        var next = to >= 0 ? schedule.AlphaBeforeRescaling(to) : (schedule.SetAlphaToOne ?? false) ? 1 : schedule.AlphaBeforeRescaling(0);
        var change = (next - alpha) / ((alpha * Math.Sqrt(1 - next)) + Math.Sqrt(alpha * (1 - alpha) * next));
        var epsilon = schedule.Epsilon(alpha);
        var factor = Math.Sqrt(next / alpha) - (change * epsilon.Latent);
        return SamplingStep.At(index, timestep, schedule.AlphaBeforeRescaling(timestep)) with
        {
            Keep = true,
            Latent = saved ? 0 : factor,
            Saved = saved ? factor : 0,
            History = [.. weights.Select(w => -change * epsilon.Model * w)],
        };
    }
}
