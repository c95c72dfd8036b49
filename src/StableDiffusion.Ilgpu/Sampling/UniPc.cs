namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>
/// Zhao et al. 2023 (arXiv:2302.04867): a multistep predictor and, once the model has seen where it led, a corrector of the same step.
/// Both move the latent of before by the same share, so the corrector only adds its other values less the predictor's: the latent from
/// before the step need not be kept. The predictor's <paramref name="order"/> is 2 or 3; <paramref name="bh1"/> takes the paper's B1(h) = h in
/// place of B2(h) = e^h - 1.
/// </summary>
internal sealed class UniPc(string name, string displayName, int order = 2, bool bh1 = false, params string[] aliases)
    : Sampler(name, displayName, aliases)
{
    private protected override SamplingPlan PlanSteps(PlanRequest run)
    {
        var levels = NoiseLevels.ForDpmSolver(run, run.Schedule.FinalSigma);
        return run.Plan(levels.InitialScale, levels.Count, i => [levels.WithUnitVariance(Step(levels, i, run.FirstStep), i, i)]);
    }

    private SamplingStep Step(NoiseLevels levels, int index, int first)
    {
        var kept = levels.Sigmas[index + 1] / levels.Sigmas[index];
        var weights = new double[order + 1];
        var predictor = Weights(levels, index, first, corrects: false);
        predictor.CopyTo(weights, 0);
        if (index > first)
        {
            var corrector = Weights(levels, index - 1, first, corrects: true);
            var replaced = Weights(levels, index - 1, first, corrects: false);
            for (var age = 0; age < corrector.Length; age++)
            {
                weights[age] += kept * (corrector[age] - (age > 0 ? replaced[age - 1] : 0));
            }
        }

        return levels.Evaluate(index, levels.Schedule.Denoised) with { Latent = kept, History = weights[..Math.Min(weights.Length, index - first + 1)] };
    }

    /// <summary>
    /// The factors of x0 in the step from a level to the next, newest first; the corrector's begin with the x0 seen at the next level.
    /// </summary>
    private double[] Weights(NoiseLevels levels, int index, int first, bool corrects)
    {
        var sigmas = levels.Sigmas;
        var terms = Math.Min(Math.Min(order, levels.Count - index), index - first + 1);
        var gain = 1 - (sigmas[index + 1] / sigmas[index]);
        var weights = new double[terms + (corrects ? 1 : 0)];
        var newest = corrects ? 1 : 0;
        weights[newest] = gain;
        if (terms == 1 && !corrects)
        {
            return weights;
        }

        // Places of the other values in units of the step, from the newest: those before it, and for the corrector the step's end, 1.
        var h = Math.Log(sigmas[index] / sigmas[index + 1]);
        List<double> places = [.. Enumerable.Range(1, terms - 1).Select(age => -Math.Log(sigmas[index - age] / sigmas[index]) / h)];
        if (corrects)
        {
            places.Add(1);
        }

        // The paper takes one half where there is one value.
        var factors = places.Count == 1 ? [0.5] : SolveVandermonde([.. places], Moments(h, places.Count));
        var scale = bh1 ? h : gain;
        for (var i = 0; i < places.Count; i++)
        {
            var factor = scale * factors[i] / places[i];
            weights[i == terms - 1 ? 0 : newest + i + 1] += factor;
            weights[newest] -= factor;
        }

        return weights;
    }

    /// <summary>The right-hand sides of the order conditions: k! φ_(k+1)(-h) (-h) / B for k from 1.</summary>
    private double[] Moments(double h, int count)
    {
        var scale = bh1 ? -h : Math.Exp(-h) - 1;
        var (phi, factorial) = (((Math.Exp(-h) - 1) / -h) - 1, 1.0);
        var moments = new double[count];
        for (var k = 1; k <= count; k++)
        {
            moments[k - 1] = phi * factorial / scale;
            factorial *= k + 1;
            phi = (phi / -h) - (1 / factorial);
        }

        return moments;
    }

    /// <summary>x with sum_j x_j places_j^k = values_k: by eliminating one place after the other.</summary>
    private static double[] SolveVandermonde(double[] places, double[] values)
    {
        // The dual of Newton's interpolation (Björck and Pereyra 1970).
        var x = (double[])values.Clone();
        var n = x.Length;
        for (var k = 0; k < n - 1; k++)
        {
            for (var i = n - 1; i > k; i--)
            {
                x[i] -= places[k] * x[i - 1];
            }
        }

        for (var k = n - 2; k >= 0; k--)
        {
            for (var i = k + 1; i < n; i++)
            {
                x[i] /= places[i] - places[i - k - 1];
            }

            for (var i = k; i < n - 1; i++)
            {
                x[i] -= x[i + 1];
            }
        }

        return x;
    }
}
