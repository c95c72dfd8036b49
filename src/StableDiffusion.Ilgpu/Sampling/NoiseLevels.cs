namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>The noise levels of a run, for samplers that think in σ = √((1 - ᾱ) / ᾱ).</summary>
/// <param name="Timesteps">What the model is told at each evaluation.</param>
/// <param name="Sigmas">The level of each evaluation, and the one where the run ends.</param>
/// <param name="InitialScale">What standard normal noise is multiplied with to start x0 + σ ε.</param>
internal sealed record NoiseLevels(double[] Timesteps, double[] Sigmas, double InitialScale)
{
    /// <summary>The levels of Euler's methods: timesteps and Karras's sigmas keep their fractions.</summary>
    public static NoiseLevels ForEuler(NoiseSchedule schedule, int steps, Scheduler scheduler, double finalSigma)
    {
        var spacing = schedule.Spacing ?? TimestepSpacing.Linspace;
        var timesteps = schedule.Timesteps(spacing, steps);
        double[] sigmas = [.. timesteps.Select(schedule.Sigma)];
        if (scheduler == Scheduler.Karras)
        {
            sigmas = Karras(sigmas[0], sigmas[^1], steps);
            timesteps = [.. sigmas.Select(schedule.Timestep)];
        }

        // Leading spacing leaves the noisiest steps out, so the picture's own variance counts at the start.
        var scale = spacing == TimestepSpacing.Leading ? Math.Sqrt((sigmas[0] * sigmas[0]) + 1) : sigmas[0];
        return new(timesteps, [.. sigmas, finalSigma], scale);
    }

    /// <summary>The levels of the DPM-Solvers, which give the model whole timesteps and let Karras's sigmas span all of training.</summary>
    public static NoiseLevels ForDpmSolver(NoiseSchedule schedule, int steps, Scheduler scheduler)
    {
        if (scheduler == Scheduler.Karras)
        {
            var karras = Karras(schedule.Sigma(schedule.TrainSteps - 1), schedule.Sigma(0), steps);
            return new([.. karras.Select(s => Math.Round(schedule.Timestep(s)))], [.. karras, schedule.FinalSigma], 1);
        }

        // Step 0 is spaced as one more step and left out: it is where the run ends.
        var spacing = schedule.Spacing ?? TimestepSpacing.Linspace;
        var timesteps = spacing == TimestepSpacing.Trailing
            ? schedule.WholeTimesteps(spacing, steps)
            : schedule.WholeTimesteps(spacing, steps + 1)[..steps];
        return new([.. timesteps.Select(t => (double)t)], [.. timesteps.Select(t => schedule.Sigma(t)), schedule.FinalSigma], 1);
    }

    /// <summary>Euler's step of x0 + σ ε from level <paramref name="index"/> to <paramref name="sigma"/>.</summary>
    public SamplingStep EulerStep(NoiseSchedule schedule, int index, double sigma)
    {
        var from = Sigmas[index];
        var alpha = 1 / ((from * from) + 1);
        var epsilon = schedule.Epsilon(alpha);
        return new(Timesteps[index], Math.Sqrt(alpha))
        {
            Keep = false,
            Latent = 1 + ((sigma - from) * epsilon.Latent * Math.Sqrt(alpha)),
            History = [(sigma - from) * epsilon.Model],
        };
    }

    /// <summary>Karras et al. 2022 (arXiv:2206.00364), equation 5.</summary>
    private static double[] Karras(double largest, double smallest, int steps)
    {
        const double Rho = 7;
        var (first, last) = (Math.Pow(largest, 1 / Rho), Math.Pow(smallest, 1 / Rho));
        return [.. Enumerable.Range(0, steps).Select(i => Math.Pow(first + ((last - first) * i / Math.Max(1, steps - 1)), Rho))];
    }
}
