namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>
/// Heun's method on dx/dσ = ε (Karras et al. 2022, arXiv:2206.00364, algorithm 2 without churn): the mean of the derivatives at both ends of
/// a step. The last one ends where there is none and is Euler's.
/// </summary>
internal sealed class Heun() : Sampler("heun", "Heun")
{
    private protected override SamplingPlan PlanSteps(PlanRequest run)
    {
        var levels = NoiseLevels.ForKDiffusion(run);
        return run.Plan(levels.InitialScale, levels.Count, i => i == levels.Count - 1 ? [Euler.Step(levels, i, to: 0)] : Steps(levels, i));
    }

    private static SamplingStep[] Steps(NoiseLevels levels, int index)
    {
        var change = levels.Sigmas[index + 1] - levels.Sigmas[index];
        return
        [
            levels.Evaluate(index, levels.Schedule.Epsilon) with { Save = true, Latent = 1, History = [change] },
            levels.Evaluate(index + 1, levels.Schedule.Epsilon) with
            {
                Index = index, Keep = false, Forget = 1, Saved = 1, History = [change / 2, change / 2],
            },
        ];
    }
}
