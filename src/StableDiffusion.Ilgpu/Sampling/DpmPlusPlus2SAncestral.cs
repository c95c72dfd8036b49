namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>
/// k-diffusion's sample_dpmpp_2s_ancestral: a step of DPM-Solver++(2S) (arXiv:2211.01095), with its middle in log σ, to a level below the
/// next one, then fresh noise up to it. The last step is Euler's.
/// </summary>
internal sealed class DpmPlusPlus2SAncestral() : Sampler("dpm++2s_a", "DPM++ 2S a", "dpmpp_2s_ancestral")
{
    public override double? DefaultEta => 1;

    private protected override SamplingPlan PlanSteps(PlanRequest run)
    {
        var levels = NoiseLevels.ForKDiffusion(run);
        return run.Plan(
            levels.InitialScale, levels.Count, i => i == levels.Count - 1 ? [Euler.Step(levels, i, to: 0)] : Steps(levels, i, run.Eta));
    }

    private static SamplingStep[] Steps(NoiseLevels levels, int index, double eta)
    {
        var from = levels.Sigmas[index];
        var (down, up) = NoiseLevels.Ancestral(from, levels.Sigmas[index + 1], eta);
        var middle = Math.Sqrt(from * down);
        return
        [
            levels.Evaluate(index, levels.Schedule.Denoised) with
            {
                Save = true, Keep = false, Latent = middle / from, History = [1 - (middle / from)],
            },
            levels.EvaluateBetween(index, middle, levels.Schedule.Denoised) with
            {
                Keep = false, Saved = down / from, History = [1 - (down / from)], Noise = up,
            },
        ];
    }
}
