using System.Numerics;
using StableDiffusion.Ilgpu.Sampling;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>Takes the steps of a <see cref="SamplingPlan"/> as its documentation says, in the arithmetic of <typeparamref name="T"/>.</summary>
internal static class PlanInterpreter
{
    /// <param name="plan">The plan.</param>
    /// <param name="start">The standard normal noise to start from.</param>
    /// <param name="model">The model's output for an input at a timestep.</param>
    /// <param name="noise">The next standard normal noise.</param>
    /// <returns>The latent before the first step and after each.</returns>
    public static List<T[]> Run<T>(SamplingPlan plan, float[] start, Func<T[], double, T[]> model, Func<float[]> noise)
        where T : IFloatingPointIeee754<T>
    {
        T[] x = [.. start.Select(n => T.CreateChecked(plan.InitialNoiseScale) * T.CreateChecked(n))];
        T[]? saved = null;
        var history = new List<T[]>();
        var trajectory = new List<T[]> { x };
        foreach (var step in plan.Steps)
        {
            var output = model(Combine((step.InputScale, x)), step.Timestep);
            var derived = Combine((step.DerivedFromLatent, x), (step.DerivedFromModel, output));
            saved = step.Save ? x : saved;
            history.Insert(0, derived);
            var live = history.Count;
            Assert.InRange(live, 1, SamplingStep.MaxHistory);
            Assert.InRange(step.History.Length, 0, Math.Min(live, SamplingStep.MaxTerms));

            List<(double, T[])> terms = [(step.Latent, x), .. step.History.Zip(history)];
            if (step.Saved != 0)
            {
                terms.Add((step.Saved, saved!));
            }

            if (step.DrawsNoise || step.Noise != 0)
            {
                terms.Add((step.Noise, [.. noise().Select(n => T.CreateChecked(n))]));
            }

            x = Combine([.. terms]);
            trajectory.Add(x);
            history.RemoveRange(0, (step.Keep ? 0 : 1) + step.Forget);

            // What no step can read any more is dropped, so that MaxHistory above says what a device must hold.
            history.RemoveRange(Math.Min(history.Count, SamplingStep.MaxHistory - 1), Math.Max(0, history.Count - SamplingStep.MaxHistory + 1));
        }

        return trajectory;
    }

    private static T[] Combine<T>(params (double Factor, T[] Values)[] terms) where T : IFloatingPointIeee754<T>
    {
        var sum = new T[terms[0].Values.Length];
        foreach (var (factor, values) in terms)
        {
            for (var i = 0; i < sum.Length; i++)
            {
                sum[i] += T.CreateChecked(factor) * values[i];
            }
        }

        return sum;
    }
}
