namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>
/// k-diffusion's sample_dpmpp_sde: DPM-Solver++ (arXiv:2211.01095) for the stochastic equation, by an ancestral step to the middle in log σ
/// and one over the whole with the x0 seen there, each with noise of its own. The last step is Euler's.
/// </summary>
internal sealed class DpmPlusPlusSde() : Sampler("dpm++sde", "DPM++ SDE", "dpmpp_sde")
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
        var (from, to) = (levels.Sigmas[index], levels.Sigmas[index + 1]);
        var middle = Math.Sqrt(from * to);
        var (toMiddle, middleNoise) = NoiseLevels.Ancestral(from, middle, eta);
        var (down, noise) = NoiseLevels.Ancestral(from, to, eta);
        return
        [
            levels.Evaluate(index, levels.Schedule.Denoised) with
            {
                Save = true, Keep = false, Latent = toMiddle / from, History = [1 - (toMiddle / from)], Noise = middleNoise,
            },
            levels.EvaluateBetween(index, middle, levels.Schedule.Denoised) with
            {
                Keep = false, Saved = down / from, History = [1 - (down / from)], Noise = noise,
            },
        ];
    }
}
