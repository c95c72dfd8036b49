using System.Numerics;
using StableDiffusion.Ilgpu.Sampling;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Every sampler against diffusers' schedulers, with a closed form in the model's place.</summary>
[Trait("Kind", "Reference")]
public class SchedulersReferenceTests
{
    // Of the reference's README: diffusers itself computes in fp32.
    private const double TrajectoryLimit = 1e-5;
    internal const double FractionalTimestepLimit = 3e-3;

    /// <summary>
    /// The share of the largest latent so far that errors are at least relative to. A step from much noise to little, as squaredcos_cap_v2
    /// has them, leaves the difference of large numbers: four roundings of fp32 stay within the limit, in diffusers' numbers as in ours.
    /// </summary>
    private const double SmallestShare = 4 * 6e-8 / TrajectoryLimit;

    private static readonly Lazy<TestTensors> Tensors = new(() => TestTensors.Open("schedulers", "schedulers.safetensors"));

    public static TheoryData<string> Cases => [.. SchedulerCase.Names];

    public static TheoryData<string> BuiltCases => [.. SchedulerCase.Names.Where(n => new SchedulerCase(n).Sampler is not null)];

    [Fact]
    public void Alphas_are_the_references()
    {
        var schedule = NoiseSchedule.Parse(SchedulerCase.Root.GetProperty("base_config"), "base_config");
        var expected = Tensors.Value.Floats("alphas_cumprod");
        var error = expected.Select((a, t) => Math.Abs((schedule.Alpha(t) / a) - 1)).Max();

        Assert.Equal(expected.Length, schedule.TrainSteps);

        // A thousand fp32 roundings of 1 - β, 6e-8 each, of random sign: 2e-6 would be usual, and ours are made alike.
        ReferenceData.Report("schedulers alphas_cumprod, relative", error, 1e-5);
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Runs_agree_with_diffusers(string name)
    {
        var reference = new SchedulerCase(name);
        if (reference.Sampler is null)
        {
            Assert.Skip($"left out: schedulers {name}: this form of {reference.Class} is not built yet");
            return;
        }

        foreach (var steps in reference.Steps)
        {
            var plan = reference.Plan(steps);
            CompareTimesteps($"{name}.n{steps}", plan);
            CompareSigmas(reference, steps, plan);
            CompareNoisedPicture(reference, steps, plan);
            CompareTrajectory<double>($"{name}.n{steps}", plan, reference.NoiseCount(steps));
            CompareTrajectory<float>($"{name}.n{steps}", plan, reference.NoiseCount(steps));
        }
    }

    [Theory]
    [MemberData(nameof(BuiltCases))]
    public void Options_left_out_take_the_class_defaults(string name)
    {
        var reference = new SchedulerCase(name);
        foreach (var steps in reference.Steps)
        {
            Assert.Equivalent(
                reference.Plan(steps),
                reference.Sampler!.Plan(reference.ScheduleWithDefaults, steps, reference.Scheduler, eta: reference.Eta),
                strict: true);
        }
    }

    private static void CompareTimesteps(string run, SamplingPlan plan)
    {
        var expected = Tensors.Value.Floats($"{run}.timesteps");
        Assert.Equal(expected.Length, plan.Steps.Count);
        var error = expected.Select((t, i) => Math.Abs(plan.Steps[i].Timestep - t)).Max();
        ReferenceData.Report($"schedulers {run}.timesteps", error, expected.All(float.IsInteger) ? 0 : FractionalTimestepLimit);
    }

    /// <summary>Where each evaluation begins, and, behind these, where the run ends.</summary>
    private static void CompareSigmas(SchedulerCase reference, int steps, SamplingPlan plan)
    {
        var name = $"{reference.Name}.n{steps}.sigmas";
        if (Tensors.Value.Has(name))
        {
            var expected = Tensors.Value.Floats(name);
            Assert.True(expected.Length > plan.Steps.Count);
            var sigmas = plan.Steps.Select(s => s.Start.Noise / s.Start.Signal)
                .Concat(Enumerable.Repeat(reference.FinalSigma, expected.Length - plan.Steps.Count));
            var error = expected.Zip(sigmas, (s, actual) => s == actual ? 0 : Math.Abs((actual / s) - 1)).Max();
            ReferenceData.Report($"schedulers {name}, relative", error, reference.SigmaLimit);
        }
    }

    /// <summary>A picture, noised to begin at the evaluation that the set chose.</summary>
    private static void CompareNoisedPicture(SchedulerCase reference, int steps, SamplingPlan plan)
    {
        var name = $"{reference.Name}.n{steps}.add_noise";
        var (picture, noise) = (Tensors.Value.Floats("latent_noise"), Tensors.Value.Floats("add_noise.noise"));
        var step = plan.Steps[plan.Steps.Count / 3];
        Assert.Equal(Tensors.Value.Floats($"{name}.timestep")[0], step.Timestep, FractionalTimestepLimit);
        double[] noised = [.. picture.Zip(noise, (x, n) => (step.Start.Signal * x) + (step.Start.Noise * n))];
        ReferenceData.Report($"schedulers {name}, relative", RelativeError(noised, Tensors.Value.Floats(name)), reference.SigmaLimit);
    }

    private static void CompareTrajectory<T>(string run, SamplingPlan plan, int noiseCount) where T : IFloatingPointIeee754<T>
    {
        var start = Tensors.Value.Floats("latent_noise");
        var noises = noiseCount == 0 ? [] : Tensors.Value.Floats($"{run}.noise");
        var drawn = 0;
        var shape = Tensors.Value.Shape("latent_noise");
        var trajectory = PlanInterpreter.Run<T>(
            plan, start, (x, t) => StandIn(x, t, shape[1]), () => noises.AsSpan(start.Length * drawn++, start.Length).ToArray());
        Assert.Equal(noiseCount, drawn);

        var expected = Tensors.Value.Floats($"{run}.trajectory");
        long[] stored = Tensors.Value.Has($"{run}.trajectory_index")
            ? Tensors.Value.Longs($"{run}.trajectory_index")
            : [.. Enumerable.Range(0, trajectory.Count).Select(i => (long)i)];
        Assert.Equal(expected.Length, stored.Length * start.Length);
        Assert.Equal(plan.Steps.Count, stored[^1]);
        var error = stored.Select((entry, i) => RelativeError(
            trajectory[(int)entry], expected.AsSpan(i * start.Length, start.Length), SmallestShare * trajectory.Take((int)entry + 1).Max(Norm))).Max();
        ReferenceData.Report($"schedulers {run}.trajectory in {(typeof(T) == typeof(float) ? "fp32" : "fp64")}, relative", error, TrajectoryLimit);
    }

    /// <summary>scale * x + amplitude * sin(t / period + channel), with the set's own three numbers.</summary>
    internal static T[] StandIn<T>(T[] x, double timestep, int channels) where T : IFloatingPointIeee754<T>
    {
        var coefficients = SchedulerCase.Root.GetProperty("model_coefficients");
        var scale = coefficients.GetProperty("scale").GetDouble();
        var amplitude = coefficients.GetProperty("amplitude").GetDouble();
        var period = coefficients.GetProperty("period").GetDouble();
        var plane = x.Length / channels;
        return [.. x.Select((value, i) =>
            T.CreateChecked((scale * double.CreateChecked(value)) + (amplitude * Math.Sin((timestep / period) + (i / plane)))))];
    }

    /// <summary>The distance over the norm of what is expected, or over <paramref name="least"/>, if that is larger.</summary>
    private static double RelativeError<T>(T[] actual, ReadOnlySpan<float> expected, double least = 0) where T : IFloatingPointIeee754<T>
    {
        var (difference, norm) = (0.0, 0.0);
        for (var i = 0; i < actual.Length; i++)
        {
            difference += Math.Pow(double.CreateChecked(actual[i]) - expected[i], 2);
            norm += Math.Pow(expected[i], 2);
        }

        return Math.Sqrt(difference) / Math.Max(Math.Sqrt(norm), least);
    }

    private static double Norm<T>(T[] values) where T : IFloatingPointIeee754<T> =>
        Math.Sqrt(values.Sum(v => double.CreateChecked(v) * double.CreateChecked(v)));
}
