namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>
/// DPM-Solver-2 as k-diffusion has it (Karras et al. 2022, arXiv:2206.00364, with the midpoint in log σ): the derivative of the step's
/// middle. <paramref name="ancestral"/> goes to a level below the next and adds noise up to it. The last step is Euler's. With Karras's
/// spacing the main timesteps are whole, as in diffusers.
/// </summary>
internal sealed class Dpm2(string name, string displayName, bool ancestral, params string[] aliases) : Sampler(name, displayName, aliases)
{
    public override double? DefaultEta => ancestral ? 1 : null;

    private protected override SamplingPlan PlanSteps(PlanRequest run)
    {
        var levels = NoiseLevels.ForKDiffusion(run);
        levels = run.Scheduler == Scheduler.Karras ? levels.WithWholeTimesteps() : levels;
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
            Euler.Step(levels, index, middle) with { Save = true },
            levels.EvaluateBetween(index, middle, levels.Schedule.Epsilon) with { Keep = false, Saved = 1, History = [down - from], Noise = up },
        ];
    }
}
