namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>
/// The multistep DPM-Solvers: DPM-Solver++ (Lu et al. 2022, arXiv:2211.01095) on x0 or, with <paramref name="onNoise"/>, DPM-Solver
/// (arXiv:2206.00927) on ε. With a share of fresh noise, <paramref name="eta"/> by default, they are SDE-DPM-Solver++. A step looks at the
/// newest <paramref name="order"/> values, 2 or 3; <paramref name="heun"/> takes the trapezoidal form of the second-order term in place of
/// the midpoint's. Of DPM-Solver only the second-order midpoint form without fresh noise is here.
/// </summary>
internal sealed class DpmSolverMultistep(
    string name, string displayName, int order = 2, bool heun = false, bool onNoise = false, double? eta = null, params string[] aliases)
    : Sampler(name, displayName, aliases)
{
    // Below this many steps the last ones are of lower order, for stability.
    private const int FewSteps = 15;

    public override double? DefaultEta => eta;

    private protected override SamplingPlan PlanSteps(PlanRequest run)
    {
        var levels = NoiseLevels.ForDpmSolver(run, run.Schedule.FinalSigma);
        return run.Plan(levels.InitialScale, levels.Count, i => [levels.WithUnitVariance(Step(levels, i, i - run.FirstStep, run.Eta), i, i)]);
    }

    private SamplingStep Step(NoiseLevels levels, int index, int known, double share)
    {
        // In the paper's terms h = λ(next) - λ with λ = -log σ.
        var (sigma, next) = (levels.Sigmas[index], levels.Sigmas[index + 1]);
        var h = (1 + share) * Math.Log(sigma / next);
        var kept = onNoise ? 1 : Math.Pow(next / sigma, 1 + share);
        var gain = onNoise ? next - sigma : 1 - kept;
        return levels.Evaluate(index, onNoise ? levels.Schedule.Epsilon : levels.Schedule.Denoised) with
        {
            Latent = kept,
            History = Weights(levels.Sigmas, index, OrderAt(levels, index, known), h, gain, share),
            Noise = next * Math.Sqrt(1 - Math.Pow(next / sigma, 2 * share)),
            DrawsNoise = share != 0,
        };
    }

    private int OrderAt(NoiseLevels levels, int index, int known)
    {
        var few = levels.Count < FewSteps;
        var left = levels.Count - index;
        var final = levels.Sigmas[index + 1];
        var most = (left == 1 && (few || final == 0)) || final == levels.Sigmas[index] ? 1 : left == 2 && few ? 2 : order;
        return Math.Min(most, known + 1);
    }

    /// <summary>The factors of the newest values: <paramref name="gain"/> of the value itself and those of its divided differences.</summary>
    private double[] Weights(double[] sigmas, int index, int terms, double h, double gain, double share)
    {
        double Ratio(int age) => (1 + share) * Math.Log(sigmas[index - age - 1] / sigmas[index - age]) / h;

        var curved = 1 - (gain / h);
        if (terms == 1)
        {
            return [gain];
        }

        var first = Ratio(0);
        if (terms == 2)
        {
            var slope = (heun ? curved : gain / 2) / first;
            return [gain + slope, -slope];
        }

        // Of the newest difference and of the one before it: the first and the second derivative's estimates together.
        var second = Ratio(1);
        var bend = 0.5 - ((h - gain) / (h * h));
        var newest = (curved + (((curved * first) + bend) / (first + second))) / first;
        var older = -((curved * first) + bend) / (first + second) / second;
        return [gain + newest, older - newest, -older];
    }
}
