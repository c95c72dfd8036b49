using System.Text.Json;
using StableDiffusion.Ilgpu.Sampling;
using StableDiffusion.Ilgpu.Sampling.Noise;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>With a model that knows the picture, every run ends at the picture, wherever it begins.</summary>
public class PerfectModelTests
{
    private const string Sd15 = """{ "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1, "skip_prk_steps": true }""";

    private static readonly double[] Picture = [-1.5, -0.25, 0, 0.125, 0.75, 2];

    public static TheoryData<string, Scheduler> Combinations =>
        [.. Samplers.All.SelectMany(sampler => sampler.Schedulers.Select(scheduler => (sampler.Name, scheduler)))];

    [Theory]
    [MemberData(nameof(Combinations))]
    public void Runs_from_noise_end_at_the_picture(string name, Scheduler scheduler)
    {
        var sampler = Samplers.Find(name);

        // As in diffusers, PLMS takes the strides of leading spacing whatever the spacing is, ends where a single step of it begins, and mixes
        // the v of several levels and takes the mix for one level's: elsewhere it misses the picture.
        foreach (var spacing in sampler is Pndm ? ["leading"] : new[] { "leading", "linspace", "trailing" })
        {
            foreach (var velocity in sampler is Pndm ? [false] : new[] { false, true })
            {
                var schedule = Schedule(spacing, velocity);
                for (var steps = sampler is Pndm ? 2 : 1; steps <= 50; steps++)
                {
                    var plan = sampler.Plan(schedule, steps, scheduler);
                    var noise = Noise(steps);
                    Check(sampler, schedule, plan, [.. noise().Select(n => n * plan.InitialNoiseScale)], noise, $"{spacing}, {steps} steps");
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Combinations))]
    public void Runs_from_a_noised_picture_end_at_it(string name, Scheduler scheduler)
    {
        var sampler = Samplers.Find(name);
        var schedule = Schedule("leading", velocity: true);
        foreach (var steps in new[] { 1, 2, 7, 20 })
        {
            var whole = sampler.Plan(schedule, steps, scheduler);
            for (var first = 0; first < steps; first++)
            {
                var plan = sampler.Plan(schedule, steps, scheduler, first);
                var skipped = whole.Steps.Count - plan.Steps.Count;

                // The same levels, and all user steps from the first on, which begins at its first evaluation.
                Assert.Equal(
                    whole.Steps.Skip(skipped).Select(s => (s.Timestep, s.InputScale, s.Index, s.Start)),
                    plan.Steps.Select(s => (s.Timestep, s.InputScale, s.Index, s.Start)));
                Assert.Equal(whole.Steps[^1].Index, plan.Steps[^1].Index);
                Assert.True(skipped == 0 || sampler is Pndm || plan.Steps[0].Index > whole.Steps[skipped - 1].Index);

                // PLMS that begins later takes its first two steps at each other's levels, as diffusers' does: it misses the picture.
                if (sampler is not Pndm)
                {
                    var noise = Noise(steps);
                    double[] start = [.. Picture.Zip(noise(), (x, n) => (plan.Start.Signal * x) + (plan.Start.Noise * n))];
                    Check(sampler, schedule, plan, start, noise, $"{steps} steps from {first}");
                }
            }
        }
    }

    private static void Check(Sampler sampler, NoiseSchedule schedule, SamplingPlan plan, double[] start, Func<float[]> noise, string what)
    {
        var evaluation = 0;
        double[] Model(double[] input, double timestep)
        {
            // Where the model's input is scaled, the scale says its level exactly, between two steps too.
            var step = plan.Steps[evaluation++];
            var signal = step.Start.Signal == 1 ? step.InputScale : step.Start.Signal;
            var deviation = Math.Sqrt(1 - (signal * signal));
            return [.. input.Zip(Picture, (v, picture) =>
            {
                var epsilon = (v - (signal * picture)) / deviation;
                return schedule.Prediction == PredictionType.V ? (signal * epsilon) - (deviation * picture) : epsilon;
            })];
        }

        // The interpreter scales standard normal noise; here the start is given as it is.
        var end = PlanInterpreter.Run<double>(
            plan with { InitialNoiseScale = 1 }, [.. start.Select(v => (float)v)], Model, noise)[^1];

        // These end at training step 0, whose noise is left; so do DDIM and DDPM where a stride that was rounded down leads from the last
        // timestep to there. LCM's boundary condition keeps 1e-5 of the latent.
        var left = sampler is Pndm or Deis or Tcd or Ddim or Ddpm ? schedule.Sigma(0) : 0;
        var error = end.Zip(Picture, (x, picture) => Math.Abs(x - picture)).Max();
        Assert.True(error <= (5 * left) + 1e-4, $"{sampler.Name}, {what}: {error}");
    }

    private static NoiseSchedule Schedule(string spacing, bool velocity) => NoiseSchedule.Parse(
        JsonSerializer.Deserialize<JsonElement>(Sd15.Replace(
            "{", $"{{ \"timestep_spacing\": \"{spacing}\", \"prediction_type\": \"{(velocity ? "v_prediction" : "epsilon")}\",", StringComparison.Ordinal)),
        "config.json");

    private static Func<float[]> Noise(int seed)
    {
        var stream = NormalStream.Create(NoiseGenerator.Cpu, seed);
        return () =>
        {
            // The generator gives sixteen at least.
            var values = new float[16];
            stream.Fill(values);
            return values[..Picture.Length];
        };
    }
}
