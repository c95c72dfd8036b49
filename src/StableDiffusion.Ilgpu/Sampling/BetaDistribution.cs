namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>
/// The beta distribution with α = β = 0.6, by which Lee et al. 2024 (arXiv:2407.12173) space the timesteps: dense at both ends.
/// </summary>
internal static class BetaDistribution
{
    private const double Shape = 0.6;

    /// <summary>Where the distribution function has the value <paramref name="probability"/>.</summary>
    public static double Quantile(double probability)
    {
        // Symmetric; below one half the series converges fast, and the power takes the steep end out of the search.
        if (probability > 0.5)
        {
            return 1 - Quantile(1 - probability);
        }

        var target = probability * 2 * Integral(0.5);
        var (low, high) = (0.0, 0.5);
        while (high - low > 1e-15)
        {
            var middle = (low + high) / 2;
            (low, high) = Integral(middle) < target ? (middle, high) : (low, middle);
        }

        return (low + high) / 2;
    }

    /// <summary>The integral of t^(α - 1) (1 - t)^(α - 1) from 0 to x, by the binomial series of the second factor.</summary>
    private static double Integral(double x)
    {
        var (sum, coefficient) = (0.0, 1.0);
        for (var n = 0; n < 60; n++)
        {
            sum += coefficient / (Shape + n);
            coefficient *= (1 - Shape + n) / (n + 1) * x;
        }

        return Math.Pow(x, Shape) * sum;
    }
}
