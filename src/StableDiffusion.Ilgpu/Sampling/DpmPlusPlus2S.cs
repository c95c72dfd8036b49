namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>
/// DPM-Solver++(2S) of Lu et al. 2022 (arXiv:2211.01095), algorithm 1, as diffusers counts it: a step of first order and one of second
/// order over both in turn, each with one evaluation. The last is of first order.
/// </summary>
internal sealed class DpmPlusPlus2S() : Sampler("dpm++2s", "DPM++ 2S", "dpmpp_2s")
{
    private protected override SamplingPlan PlanSteps(PlanRequest run)
    {
        var levels = NoiseLevels.ForDpmSolver(run, run.Schedule.FinalSigma, TimestepSpacing.Linspace);
        var count = levels.Count;
        var secondBefore = count % 2 == 0 ? count - 2 : count;
        return run.Plan(levels.InitialScale, count, i =>
        {
            var second = i % 2 == 1 && i < secondBefore && i > run.FirstStep;
            return [second ? SecondOrder(levels, i) : FirstOrder(levels, i)];
        });
    }

    private static SamplingStep FirstOrder(NoiseLevels levels, int index)
    {
        var kept = levels.Sigmas[index + 1] / levels.Sigmas[index];
        var step = levels.Evaluate(index, levels.Schedule.Denoised) with { Save = true, Latent = kept, History = [1 - kept] };
        return levels.WithUnitVariance(step, index, index);
    }

    /// <summary>From the level before, whose latent was saved, with the slope between the two.</summary>
    private static SamplingStep SecondOrder(NoiseLevels levels, int index)
    {
        var (from, middle, to) = (levels.Sigmas[index - 1], levels.Sigmas[index], levels.Sigmas[index + 1]);
        var gain = 1 - (to / from);
        var slope = gain / 2 * Math.Log(from / to) / Math.Log(from / middle);
        var step = levels.Evaluate(index, levels.Schedule.Denoised) with { Saved = to / from, History = [slope, gain - slope] };
        return levels.WithUnitVariance(step, index, index - 1);
    }
}
