namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>
/// What the reference has no numbers of, in double precision and as plainly as papers and k-diffusion write it: loops over latents, with
/// nothing of the library in them.
/// </summary>
/// <param name="alphas">ᾱ of each training step.</param>
/// <param name="model">The model's output for an input of unit variance at a timestep.</param>
/// <param name="velocity">Whether that is v, not ε.</param>
/// <param name="noise">The next standard normal noise.</param>
internal sealed class PaperSamplers(double[] alphas, Func<double[], double, double[]> model, bool velocity, Func<double[]> noise)
{
    private readonly double[] sigmas = [.. alphas.Select(a => Math.Sqrt((1 - a) / a))];

    /// <summary>k-diffusion's sample_euler_ancestral.</summary>
    public double[] EulerAncestral(double[] x, double[] levels, double eta)
    {
        for (var i = 0; i < levels.Length - 1; i++)
        {
            var denoised = Denoise(x, levels[i]);
            var (down, up) = AncestralStep(levels[i], levels[i + 1], eta);
            var sigma = levels[i];
            x = Map(x, (v, j) => v + ((v - denoised[j]) / sigma * (down - sigma)));
            x = levels[i + 1] > 0 ? Add(x, up, noise()) : x;
        }

        return x;
    }

    /// <summary>k-diffusion's sample_dpmpp_2s_ancestral.</summary>
    public double[] DpmPlusPlus2SAncestral(double[] x, double[] levels, double eta)
    {
        for (var i = 0; i < levels.Length - 1; i++)
        {
            var sigma = levels[i];
            var denoised = Denoise(x, sigma);
            var (down, up) = AncestralStep(sigma, levels[i + 1], eta);
            if (down == 0)
            {
                x = Map(x, (v, j) => v + ((v - denoised[j]) / sigma * (down - sigma)));
            }
            else
            {
                var (t, next) = (-Math.Log(sigma), -Math.Log(down));
                var h = next - t;
                var s = t + (h / 2);
                var middle = Map(x, (v, j) => (Math.Exp(-s) / Math.Exp(-t) * v) - ((Math.Exp(-h / 2) - 1) * denoised[j]));
                var second = Denoise(middle, Math.Exp(-s));
                x = Map(x, (v, j) => (Math.Exp(-next) / Math.Exp(-t) * v) - ((Math.Exp(-h) - 1) * second[j]));
            }

            x = levels[i + 1] > 0 ? Add(x, up, noise()) : x;
        }

        return x;
    }

    /// <summary>k-diffusion's sample_dpmpp_2m_sde with its midpoint solver.</summary>
    public double[] DpmPlusPlus2MSde(double[] x, double[] levels, double eta)
    {
        double[]? old = null;
        var lastH = 0.0;
        for (var i = 0; i < levels.Length - 1; i++)
        {
            var denoised = Denoise(x, levels[i]);
            if (levels[i + 1] == 0)
            {
                return denoised;
            }

            var h = Math.Log(levels[i]) - Math.Log(levels[i + 1]);
            var etaH = eta * h;
            var ratio = levels[i + 1] / levels[i];
            var gain = 1 - Math.Exp(-h - etaH);
            x = Map(x, (v, j) => (ratio * Math.Exp(-etaH) * v) + (gain * denoised[j]));
            if (old is { } before)
            {
                var r = lastH / h;
                x = Map(x, (v, j) => v + (0.5 * gain / r * (denoised[j] - before[j])));
            }

            x = Add(x, levels[i + 1] * Math.Sqrt(1 - Math.Exp(-2 * etaH)), noise());
            (old, lastH) = (denoised, h);
        }

        return x;
    }

    /// <summary>Algorithm 4 of arXiv:2402.19159 over timesteps, noisiest first, down to step 0.</summary>
    public double[] Tcd(double[] x, int[] timesteps, double gamma)
    {
        for (var i = 0; i < timesteps.Length; i++)
        {
            var next = i + 1 < timesteps.Length ? timesteps[i + 1] : 0;
            var (a, at) = (alphas[timesteps[i]], alphas[next]);
            var reached = alphas[(int)Math.Floor((1 - gamma) * next)];
            var output = model(x, timesteps[i]);
            var picture = Map(x, (v, j) => velocity
                ? (Math.Sqrt(a) * v) - (Math.Sqrt(1 - a) * output[j])
                : (v - (Math.Sqrt(1 - a) * output[j])) / Math.Sqrt(a));
            var epsilon = Map(x, (v, j) => velocity ? (Math.Sqrt(a) * output[j]) + (Math.Sqrt(1 - a) * v) : output[j]);
            x = Map(x, (_, j) => (Math.Sqrt(reached) * picture[j]) + (Math.Sqrt(1 - reached) * epsilon[j]));
            if (i + 1 < timesteps.Length)
            {
                var fresh = noise();
                x = Map(x, (v, j) => (Math.Sqrt(at / reached) * v) + (Math.Sqrt(1 - (at / reached)) * fresh[j]));
            }
        }

        return x;
    }

    /// <summary>The levels of a spacing with the final 0, as k-diffusion, ComfyUI and Align Your Steps' authors give them.</summary>
    public double[] Levels(Scheduler scheduler, int steps)
    {
        var last = sigmas.Length - 1;
        IEnumerable<double> levels = scheduler switch
        {
            Scheduler.Exponential => Linspace(Math.Log(sigmas[last]), Math.Log(sigmas[0]), steps).Select(Math.Exp),
            Scheduler.Normal => Linspace(last, 0, steps).Select(SigmaOf),
            Scheduler.SgmUniform => Linspace(last, 0, steps + 1).SkipLast(1).Select(SigmaOf),
            Scheduler.Simple => Enumerable.Range(0, steps).Select(i => sigmas[^(1 + (int)(i * ((double)sigmas.Length / steps)))]),
            Scheduler.Beta => Enumerable.Range(0, steps).Select(i => sigmas[(int)Math.Round(BetaQuantile(1 - ((double)i / steps)) * last)]).Distinct(),
            Scheduler.AlignYourSteps => Aligned(steps + 1).SkipLast(1),
            _ => throw new ArgumentOutOfRangeException(nameof(scheduler)),
        };
        return [.. levels, 0];
    }

    /// <summary>The timestep of a sigma.</summary>
    public double TimestepOf(double sigma)
    {
        var k = Math.Clamp(sigmas.Count(s => s <= sigma) - 1, 0, sigmas.Length - 2);
        return Math.Clamp(k + (Math.Log(sigma / sigmas[k]) / Math.Log(sigmas[k + 1] / sigmas[k])), 0, sigmas.Length - 1);
    }

    private double SigmaOf(double timestep)
    {
        var k = Math.Min((int)timestep, sigmas.Length - 2);
        var weight = timestep - k;
        return Math.Exp(((1 - weight) * Math.Log(sigmas[k])) + (weight * Math.Log(sigmas[k + 1])));
    }

    private static double[] Aligned(int count)
    {
        double[] rising = [.. new[]
        {
            14.6146412293, 6.4745760956, 3.8636745985, 2.6946151520, 1.8841921177, 1.3943805092, 0.9642583904, 0.6523686016,
            0.3977456272, 0.1515232662, 0.0291671582,
        }.Reverse().Select(s => Math.Log(s))];
        return [.. Linspace(0, rising.Length - 1, count).Select(p =>
        {
            var k = Math.Min((int)p, rising.Length - 2);
            return Math.Exp(rising[k] + ((p - k) * (rising[k + 1] - rising[k])));
        }).Reverse()];
    }

    /// <summary>By Simpson's rule: with u = t^0.6 the density of t is (1 - u^(1/0.6))^-0.4 up to a factor.</summary>
    private static double BetaQuantile(double probability)
    {
        if (probability > 0.5)
        {
            return 1 - BetaQuantile(1 - probability);
        }

        double Density(double u) => Math.Pow(1 - Math.Pow(u, 1 / 0.6), -0.4);
        double Cumulative(double u) => u / 6000 * Enumerable.Range(0, 1000).Sum(
            i => Density(u * i / 1000) + (4 * Density(u * (i + 0.5) / 1000)) + Density(u * (i + 1) / 1000));

        var (low, high) = (0.0, Math.Pow(0.5, 0.6));
        var half = Cumulative(high);
        for (var i = 0; i < 45; i++)
        {
            var middle = (low + high) / 2;
            (low, high) = Cumulative(middle) < 2 * probability * half ? (middle, high) : (low, middle);
        }

        return Math.Pow(low, 1 / 0.6);
    }

    private double[] Denoise(double[] x, double sigma)
    {
        var scale = Math.Sqrt((sigma * sigma) + 1);
        var output = model(Map(x, (v, _) => v / scale), TimestepOf(sigma));
        return Map(x, (v, j) => velocity ? (v / (scale * scale)) - (sigma / scale * output[j]) : v - (sigma * output[j]));
    }

    private static (double Down, double Up) AncestralStep(double from, double to, double eta)
    {
        var up = Math.Min(to, eta * Math.Sqrt(to * to * ((from * from) - (to * to)) / (from * from)));
        return (Math.Sqrt((to * to) - (up * up)), up);
    }

    private static IEnumerable<double> Linspace(double first, double last, int count) =>
        Enumerable.Range(0, count).Select(i => first + ((last - first) * i / Math.Max(1, count - 1)));

    private static double[] Add(double[] x, double factor, double[] other) => Map(x, (v, j) => v + (factor * other[j]));

    private static double[] Map(double[] x, Func<double, int, double> value) => [.. x.Select(value)];
}
