namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>
/// Pseudo linear multistep steps on ε (Liu et al. 2022, arXiv:2202.09778). They start from one step taken twice, or, where the
/// model's configuration does not skip it, from three Runge-Kutta steps of four evaluations.
/// </summary>
internal sealed class Pndm() : Sampler("pndm", "PLMS")
{
    private const int RungeKuttaSteps = 3;

    /// <summary>Adams-Bashforth weights of the newest outputs by how many there are.</summary>
    private static readonly double[][] Multistep =
        [[1], [3 / 2.0, -1 / 2.0], [23 / 12.0, -16 / 12.0, 5 / 12.0], [55 / 24.0, -59 / 24.0, 37 / 24.0, -9 / 24.0]];

    public override IReadOnlyList<string> Aliases { get; } = ["plms"];

    public override IReadOnlyList<Scheduler> Schedulers { get; } = [Scheduler.Discrete];

    private protected override SamplingPlan PlanSteps(NoiseSchedule schedule, int steps, Scheduler scheduler)
    {
        var stride = schedule.TrainSteps / steps;
        var timesteps = schedule.WholeTimesteps(schedule.Spacing ?? TimestepSpacing.Leading, steps);
        var plan = new List<SamplingStep>();
        if (!schedule.SkipPrkSteps)
        {
            AddRungeKutta(plan, schedule, timesteps, stride);
            plan.AddRange(timesteps.Skip(RungeKuttaSteps).Select(t => Step(schedule, t, t, t - stride, Multistep[^1])));
            return new(1, plan);
        }

        plan.Add(Step(schedule, timesteps[0], timesteps[0], timesteps[0] - stride, Multistep[0]) with { Save = true });
        for (var i = 1; i < steps; i++)
        {
            var t = timesteps[i];
            if (i == 1)
            {
                plan.Add(Step(schedule, t, t + stride, t, [1 / 2.0, 1 / 2.0], saved: true) with { Keep = false });
            }

            plan.Add(Step(schedule, t, t, t - stride, Multistep[Math.Min(i, Multistep.Length - 1)]));
        }

        return new(1, plan);
    }

    /// <summary>Each step's first output stays for the multistep formula; those at its middle are forgotten with the step.</summary>
    private static void AddRungeKutta(List<SamplingStep> plan, NoiseSchedule schedule, int[] timesteps, int stride)
    {
        if (timesteps.Length <= RungeKuttaSteps)
        {
            throw new StableDiffusionException(
                $"steps {timesteps.Length}: PLMS needs at least {RungeKuttaSteps + 1} with this model (its skip_prk_steps is false)");
        }

        for (var i = 0; i < RungeKuttaSteps; i++)
        {
            var from = timesteps[i];
            var to = timesteps[i + 1];
            var middle = to + (stride / 2);
            plan.Add(Step(schedule, from, from, from - (stride / 2), [1]) with { Save = true });
            plan.Add(Step(schedule, middle, from, middle, [1], saved: true));
            plan.Add(Step(schedule, middle, from, middle - (stride / 2), [1], saved: true));
            plan.Add(Step(schedule, to, from, to, [1 / 6.0, 1 / 3.0, 1 / 3.0, 1 / 6.0], saved: true) with { Keep = false, Forget = 2 });
        }
    }

    /// <summary>
    /// Equation 11 with the weighted outputs: from level <paramref name="from"/> of the latent, or of the saved one, to level
    /// <paramref name="to"/>. A v is turned into ε as a whole, with that latent.
    /// </summary>
    private static SamplingStep Step(NoiseSchedule schedule, int timestep, int from, int to, double[] weights, bool saved = false)
    {
        var alpha = schedule.AlphaBeforeRescaling(from);
        var next = to >= 0 ? schedule.AlphaBeforeRescaling(to) : (schedule.SetAlphaToOne ?? false) ? 1 : schedule.AlphaBeforeRescaling(0);
        var change = (next - alpha) / ((alpha * Math.Sqrt(1 - next)) + Math.Sqrt(alpha * (1 - alpha) * next));
        var epsilon = schedule.Epsilon(alpha);
        var factor = Math.Sqrt(next / alpha) - (change * epsilon.Latent);
        return new(timestep, 1)
        {
            Latent = saved ? 0 : factor,
            Saved = saved ? factor : 0,
            History = [.. weights.Select(w => -change * epsilon.Model * w)],
        };
    }
}
