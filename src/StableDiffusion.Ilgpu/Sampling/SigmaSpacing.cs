namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>The spacings of noise levels σ that do not come from a model's configuration.</summary>
internal static class SigmaSpacing
{
    /// <summary>Sabour et al. 2024 (arXiv:2404.14507): levels optimised for ten steps of Stable Diffusion 1.5, with the one they end at.</summary>
    private static readonly double[] AlignedSteps =
    [
        14.6146412293, 6.4745760956, 3.8636745985, 2.6946151520, 1.8841921177, 1.3943805092,
        0.9642583904, 0.6523686016, 0.3977456272, 0.1515232662, 0.0291671582,
    ];

    /// <summary>
    /// The levels of a run over all of training, noisiest first, without the one where it ends. <see cref="Scheduler.Beta"/> gives fewer than
    /// <paramref name="steps"/> where some would be the same.
    /// </summary>
    public static double[] Of(Scheduler scheduler, NoiseSchedule schedule, int steps)
    {
        var last = schedule.TrainSteps - 1;
        var (largest, smallest) = (schedule.Sigma(last), schedule.Sigma(0));
        IEnumerable<int> indices = Enumerable.Range(0, steps);
        return scheduler switch
        {
            Scheduler.Karras => Karras(largest, smallest, steps),
            Scheduler.Exponential => [.. indices.Select(i => largest * Math.Pow(smallest / largest, i / Math.Max(1, steps - 1.0)))],
            Scheduler.Normal => [.. indices.Select(i => schedule.GeometricSigma(last - (last * (double)i / Math.Max(1, steps - 1))))],
            Scheduler.SgmUniform => [.. indices.Select(i => schedule.GeometricSigma(last - (last * (double)i / steps)))],
            Scheduler.Simple => [.. indices.Select(i => schedule.Sigma(last - (int)(i * ((double)schedule.TrainSteps / steps))))],
            Scheduler.Beta => [.. indices.Select(i => Math.Round(BetaDistribution.Quantile(1 - ((double)i / steps)) * last)).Distinct().Select(schedule.Sigma)],
            Scheduler.AlignYourSteps => [.. indices.Select(i => Aligned((double)i / steps))],
            _ => throw new ArgumentOutOfRangeException(nameof(scheduler), scheduler, "has no spacing of its own"),
        };
    }

    /// <summary>Karras et al. 2022 (arXiv:2206.00364), equation 5.</summary>
    public static double[] Karras(double largest, double smallest, int steps)
    {
        const double Rho = 7;
        var (first, last) = (Math.Pow(largest, 1 / Rho), Math.Pow(smallest, 1 / Rho));
        return [.. Enumerable.Range(0, steps).Select(i => Math.Pow(first + ((last - first) * i / Math.Max(1, steps - 1)), Rho))];
    }

    /// <summary>The table at a place between its first entry, 0, and its last, 1; between entries linear in log σ.</summary>
    private static double Aligned(double place)
    {
        var entry = place * (AlignedSteps.Length - 1);
        var low = Math.Min((int)entry, AlignedSteps.Length - 2);
        return AlignedSteps[low] * Math.Pow(AlignedSteps[low + 1] / AlignedSteps[low], entry - low);
    }
}
