namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>Euler's method on dx/dσ = ε (Karras et al. 2022, arXiv:2206.00364, algorithm 2 without churn).</summary>
internal sealed class Euler() : Sampler("euler", "Euler")
{
    private protected override SamplingPlan PlanSteps(PlanRequest run)
    {
        var levels = NoiseLevels.ForKDiffusion(run, run.Schedule.FinalSigma);
        return run.Plan(levels.InitialScale, levels.Count, i => [Step(levels, i, levels.Sigmas[i + 1])]);
    }

    /// <summary>From a level to any sigma.</summary>
    public static SamplingStep Step(NoiseLevels levels, int index, double to) =>
        levels.Evaluate(index, levels.Schedule.Epsilon) with { Keep = false, Latent = 1, History = [to - levels.Sigmas[index]] };
}
