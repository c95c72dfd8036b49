namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>
/// The exponential integrator of Zhang and Chen 2022 (arXiv:2204.13902) in its ρAB form of second order, with ε linear in log σ between
/// two levels. It ends at the noise of training step 0, as in diffusers.
/// </summary>
internal sealed class Deis() : Sampler("deis", "DEIS")
{
    // Below this many steps the last one is of first order, for stability.
    private const int FewSteps = 15;

    private protected override SamplingPlan PlanSteps(PlanRequest run)
    {
        var levels = NoiseLevels.ForDpmSolver(run, run.Schedule.Sigma(0));
        return run.Plan(levels.InitialScale, levels.Count, i => [levels.WithUnitVariance(Step(levels, i, run.FirstStep), i, i)]);
    }

    private static SamplingStep Step(NoiseLevels levels, int index, int first)
    {
        var (sigma, next) = (levels.Sigmas[index], levels.Sigmas[index + 1]);
        var step = levels.Evaluate(index, levels.Schedule.Epsilon) with { Latent = 1 };
        if (index == first || (index == levels.Count - 1 && levels.Count < FewSteps))
        {
            return step with { History = [next - sigma] };
        }

        var before = levels.Sigmas[index - 1];
        return step with { History = [Integral(sigma, next, sigma, before), Integral(sigma, next, before, sigma)] };
    }

    /// <summary>Over dσ between two levels, of the line in log σ that is 1 at <paramref name="one"/> and 0 at <paramref name="zero"/>.</summary>
    private static double Integral(double from, double to, double one, double zero)
    {
        double Antiderivative(double sigma) => sigma * (Math.Log(sigma / zero) - 1) / Math.Log(one / zero);

        return Antiderivative(to) - Antiderivative(from);
    }
}
