using System.Text.Json;
using StableDiffusion.Ilgpu.Sampling;
using StableDiffusion.Ilgpu.Sampling.Noise;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Samplers, schedules and shares of noise that the reference has no numbers of, against <see cref="PaperSamplers"/>.</summary>
[Trait("Kind", "Reference")]
public class PaperSamplersTests
{
    // Both are in double precision over the same levels; they differ by roundings, and those of steep ends are a million times 1e-16.
    private const double Limit = 1e-9;

    private static readonly Scheduler[] Spacings =
        [Scheduler.Normal, Scheduler.Exponential, Scheduler.SgmUniform, Scheduler.Simple, Scheduler.Beta, Scheduler.AlignYourSteps];

    private static readonly int[] StepCounts = [1, 2, 5, 10, 20, 50];

    private delegate double[] Run(PaperSamplers paper, double[] start, double[] levels, double eta);

    public static TheoryData<Scheduler> Schedules => [.. Spacings];

    public static TheoryData<Scheduler, bool> Forms => [.. Spacings.SelectMany(s => new[] { (s, false), (s, true) })];

    [Theory]
    [MemberData(nameof(Schedules))]
    public void Schedules_have_the_levels_they_are_defined_by(Scheduler scheduler)
    {
        var schedule = Schedule(velocity: false);
        var paper = new PaperSamplers(Alphas(schedule), (x, _) => x, velocity: false, () => []);
        foreach (var steps in StepCounts)
        {
            var levels = paper.Levels(scheduler, steps);
            var plan = Samplers.Euler.Plan(schedule, steps, scheduler);
            var name = $"paper {SchedulerNames.NameOf(scheduler)}, {steps} steps";
            Assert.Equal(levels.Length - 1, plan.Steps.Count);
            ReferenceData.Report($"{name}, sigmas, relative", plan.Steps.Select((s, i) => Math.Abs((s.Start.Noise / levels[i]) - 1)).Max(), Limit);
            ReferenceData.Report(
                $"{name}, timesteps", plan.Steps.Select((s, i) => Math.Abs(s.Timestep - paper.TimestepOf(levels[i]))).Max(), Limit * schedule.TrainSteps);
            Assert.Equal(plan.Steps.Select(s => s.Timestep), Samplers.DpmPlusPlus2M.Plan(schedule, steps, scheduler).Steps.Select(s => s.Timestep));
        }
    }

    [Fact]
    public void Ten_aligned_steps_are_the_published_timesteps()
    {
        // Of the authors' quick start for Stable Diffusion 1.5; they are rounded to whole steps, and its betas are what they hold for.
        double[] published = [999, 850, 736, 645, 545, 455, 343, 233, 124, 24];
        var plan = Samplers.Euler.Plan(Schedule(velocity: false), published.Length, Scheduler.AlignYourSteps);
        Assert.All(published.Zip(plan.Steps), p => Assert.Equal(p.First, p.Second.Timestep, 1.0));
    }

    [Theory]
    [MemberData(nameof(Forms))]
    public void Samplers_take_the_papers_steps(Scheduler scheduler, bool velocity)
    {
        foreach (var steps in StepCounts)
        {
            foreach (var eta in new[] { 0.35, 1 })
            {
                Compare(Samplers.DpmPlusPlus2SAncestral, (p, x, levels, e) => p.DpmPlusPlus2SAncestral(x, levels, e), scheduler, velocity, steps, eta);
                Compare(Samplers.EulerAncestral, (p, x, levels, e) => p.EulerAncestral(x, levels, e), scheduler, velocity, steps, eta);
            }
        }

        // From 15 steps on: below, diffusers' DPM-Solver ends with other orders than k-diffusion's.
        foreach (var eta in new[] { 0.35, 1 })
        {
            Compare(Samplers.DpmPlusPlus2MSde, (p, x, levels, e) => p.DpmPlusPlus2MSde(x, levels, e), scheduler, velocity, 20, eta);
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Tcd_takes_the_papers_steps(bool velocity)
    {
        var schedule = Schedule(velocity);
        foreach (var steps in new[] { 1, 2, 4, 8, 33, 50 })
        {
            // Fifty of the training steps, evenly, and of these some.
            int[] fifty = [.. Enumerable.Range(1, 50).Select(i => (i * (schedule.TrainSteps / 50)) - 1).Reverse()];
            int[] timesteps = [.. Enumerable.Range(0, steps).Select(i => fifty[(int)(i * (50.0 / steps))])];
            foreach (var eta in new double?[] { null, 0, 1 })
            {
                Compare($"paper tcd{(velocity ? " v" : "")}, {steps} steps, eta {eta ?? 0.3}", schedule,
                    Samplers.Tcd.Plan(schedule, steps, Scheduler.Discrete, eta: eta), (paper, x) => paper.Tcd(x, timesteps, eta ?? 0.3));
            }
        }
    }

    private static void Compare(Sampler sampler, Run run, Scheduler scheduler, bool velocity, int steps, double eta)
    {
        var schedule = Schedule(velocity);
        Compare(
            $"paper {sampler.Name} {SchedulerNames.NameOf(scheduler)}{(velocity ? " v" : "")}, {steps} steps, eta {eta}", schedule,
            sampler.Plan(schedule, steps, scheduler, eta: eta),
            (paper, x) =>
            {
                var levels = paper.Levels(scheduler, steps);

                // DPM-Solvers start from unit variance, k-diffusion's from the noise of the first level.
                var scale = sampler is DpmSolverMultistep ? Math.Sqrt((levels[0] * levels[0]) + 1) : levels[0];
                return run(paper, [.. x.Select(v => v * scale)], levels, eta);
            });
    }

    private static void Compare(string name, NoiseSchedule schedule, SamplingPlan plan, Func<PaperSamplers, double[], double[]> run)
    {
        float[] start = Noise(seed: 1)();
        double[] Model(double[] x, double t) => SchedulersReferenceTests.StandIn(x, t, channels: 4);

        var fresh = Noise(seed: 2);
        var paper = new PaperSamplers(
            Alphas(schedule), Model, schedule.Prediction == PredictionType.V, () => [.. fresh().Select(n => (double)n)]);
        var expected = run(paper, [.. start.Select(n => (double)n)]);
        var actual = PlanInterpreter.Run<double>(plan, start, Model, Noise(seed: 2))[^1];
        var error = Math.Sqrt(expected.Zip(actual, (e, a) => (e - a) * (e - a)).Sum() / expected.Sum(e => e * e));
        ReferenceData.Report($"{name}, relative", error, Limit);
    }

    /// <summary>Stable Diffusion's, whatever a set's cases have: how steep the ends are decides what the limit can be.</summary>
    private static NoiseSchedule Schedule(bool velocity) => NoiseSchedule.Parse(
        JsonSerializer.Deserialize<JsonElement>(
            $$"""
            {
              "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1,
              "prediction_type": "{{(velocity ? "v_prediction" : "epsilon")}}"
            }
            """),
        "Stable Diffusion");

    // These are held against the reference's own elsewhere.
    private static double[] Alphas(NoiseSchedule schedule) => [.. Enumerable.Range(0, schedule.TrainSteps).Select(schedule.Alpha)];

    private static Func<float[]> Noise(int seed)
    {
        var stream = NormalStream.Create(NoiseGenerator.Cpu, seed);
        return () =>
        {
            var values = new float[4 * 16];
            stream.Fill(values);
            return values;
        };
    }
}
