namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>
/// Euler's method to a level below the next one, then fresh noise up to it: k-diffusion's ancestral sampling. The last step asks for noise
/// too and adds none.
/// </summary>
internal sealed class EulerAncestral() : Sampler("euler_a", "Euler a", "euler_ancestral")
{
    public override double? DefaultEta => 1;

    private protected override SamplingPlan PlanSteps(PlanRequest run)
    {
        var levels = NoiseLevels.ForKDiffusion(run);
        return run.Plan(levels.InitialScale, levels.Count, i =>
        {
            var (down, up) = NoiseLevels.Ancestral(levels.Sigmas[i], levels.Sigmas[i + 1], run.Eta);
            return [Euler.Step(levels, i, down) with { Noise = up, DrawsNoise = run.Eta != 0 }];
        });
    }
}
