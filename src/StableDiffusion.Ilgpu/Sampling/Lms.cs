namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>
/// Linear multistep steps on dx/dσ = ε: the polynomial through up to four of the newest derivatives, integrated over the step
/// (Adams-Bashforth for uneven steps; k-diffusion's sample_lms).
/// </summary>
internal sealed class Lms() : Sampler("lms", "LMS")
{
    private const int Order = 4;

    private protected override SamplingPlan PlanSteps(PlanRequest run)
    {
        var levels = NoiseLevels.ForKDiffusion(run);
        return run.Plan(levels.InitialScale, levels.Count, i =>
        {
            var order = Math.Min(Order, i - run.FirstStep + 1);
            return
            [
                levels.Evaluate(i, levels.Schedule.Epsilon) with
                {
                    Latent = 1,
                    History = [.. Enumerable.Range(0, order).Select(age => Weight(levels.Sigmas, i, order, age))],
                },
            ];
        });
    }

    /// <summary>
    /// The integral over the step of the polynomial that is 1 at the sigma of that age and 0 at the others; it is at most cubic, for
    /// which Gauss and Legendre's two points are exact.
    /// </summary>
    private static double Weight(double[] sigmas, int index, int order, int age)
    {
        double Polynomial(double sigma) => Enumerable.Range(0, order).Where(other => other != age)
            .Aggregate(1.0, (product, other) => product * (sigma - sigmas[index - other]) / (sigmas[index - age] - sigmas[index - other]));

        var middle = (sigmas[index] + sigmas[index + 1]) / 2;
        var half = (sigmas[index + 1] - sigmas[index]) / 2;
        return half * (Polynomial(middle - (half / Math.Sqrt(3))) + Polynomial(middle + (half / Math.Sqrt(3))));
    }
}
