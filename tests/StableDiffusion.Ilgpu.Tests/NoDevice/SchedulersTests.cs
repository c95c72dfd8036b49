using System.Text.Json;
using StableDiffusion.Ilgpu.Sampling;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

public class SchedulersTests
{
    private const string Sd15 = """{ "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1, "skip_prk_steps": true }""";

    [Theory]
    [InlineData("euler_a", "Euler a")]
    [InlineData("EULER A", "Euler a")]
    [InlineData("Euler", "Euler")]
    [InlineData("ddim", "DDIM")]
    [InlineData("dpm++2m", "DPM++ 2M")]
    [InlineData("DPM++ 2M", "DPM++ 2M")]
    [InlineData("pndm", "PLMS")]
    [InlineData("plms", "PLMS")]
    [InlineData("dpmpp_2m", "DPM++ 2M")]
    [InlineData("DPM2 a", "DPM2 a")]
    [InlineData("dpm++2s_a", "DPM++ 2S a")]
    [InlineData("dpmpp_2s_ancestral", "DPM++ 2S a")]
    public void Samplers_are_found_by_every_name(string name, string displayName) => Assert.Equal(displayName, Samplers.Find(name).DisplayName);

    [Fact]
    public void An_unknown_sampler_is_answered_with_the_list() => Fails(
        () => Samplers.Find("heun3"), "unknown sampler \"heun3\": choose one of "
            + "euler_a, euler_ancestral, euler, heun, dpm2, dpm_2, kdpm2, dpm2_a, dpm_2_ancestral, kdpm2_ancestral, lms, dpm++2s, dpmpp_2s, "
            + "dpm++2s_a, dpmpp_2s_ancestral, dpm++2m, dpmpp_2m, dpm++2m_heun, dpmpp_2m_heun, dpm++3m, dpmpp_3m, dpm++2m_sde, dpmpp_2m_sde, "
            + "dpm++sde, dpmpp_sde, dpm2m, dpm_2m, unipc, uni_pc_bh2, unipc_bh1, uni_pc, unipc3, deis, ddim, ddim_trailing, ddpm, pndm, plms, lcm, tcd");

    [Theory]
    [InlineData("discrete", Scheduler.Discrete)]
    [InlineData("Normal", Scheduler.Normal)]
    [InlineData("Uniform", Scheduler.Discrete)]
    [InlineData("KARRAS", Scheduler.Karras)]
    [InlineData("SGM Uniform", Scheduler.SgmUniform)]
    [InlineData("Align Your Steps", Scheduler.AlignYourSteps)]
    public void Schedulers_are_found_by_every_name(string name, Scheduler scheduler) => Assert.Equal(scheduler, SchedulerNames.Find(name));

    [Fact]
    public void An_unknown_scheduler_is_answered_with_the_list() => Fails(
        () => SchedulerNames.Find("gits"),
        "unknown scheduler \"gits\": choose one of discrete, normal, karras, exponential, sgm_uniform, simple, beta, ays, align_your_steps");

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(1000)]
    public void Numbers_of_steps_have_limits(int steps)
    {
        foreach (var sampler in Samplers.All)
        {
            Fails(() => sampler.Plan(Parse(Sd15), steps, Scheduler.Discrete), $"steps {steps}: choose 1 to 999");
        }
    }

    [Fact]
    public void A_schedule_that_a_sampler_lacks_is_refused() => Fails(
        () => Samplers.Ddim.Plan(Parse(Sd15), 20, Scheduler.Karras), "sampler ddim has no karras schedule: choose discrete");

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(48)]
    [InlineData(500)]
    public void Every_sampler_and_spacing_gives_finite_numbers(int steps)
    {
        foreach (var spacing in new[] { "leading", "linspace", "trailing" })
        {
            var schedule = Parse(Sd15.Replace("{", $"{{ \"timestep_spacing\": \"{spacing}\",", StringComparison.Ordinal));
            foreach (var sampler in Samplers.All)
            {
                foreach (var scheduler in sampler.Schedulers)
                {
                    if (sampler is Lcm or Tcd && steps > schedule.ConsistencySteps)
                    {
                        Fails(() => sampler.Plan(schedule, steps, scheduler),
                            $"steps {steps}: the samplers of consistency models choose from 50 (the model's original_inference_steps)");
                        continue;
                    }

                    var plan = sampler.Plan(schedule, steps, scheduler);
                    Assert.True(double.IsFinite(plan.InitialNoiseScale) && plan.InitialNoiseScale > 0);

                    // The beta distribution has no 500 different whole steps.
                    Assert.True(plan.Steps.Count >= steps || (scheduler == Scheduler.Beta && steps == 500));
                    Assert.Equal(plan.Steps.Select(s => s.Index).Order(), plan.Steps.Select(s => s.Index));
                    Assert.All(plan.Steps, s => Assert.True(
                        s.Timestep >= 0 && s.Timestep < schedule.TrainSteps && Numbers(s).All(double.IsFinite),
                        $"{sampler} {scheduler} {spacing} {steps}: {s}"));
                }
            }
        }
    }

    [Fact]
    public void A_share_of_noise_that_a_sampler_cannot_take_is_refused()
    {
        Fails(() => Samplers.Heun.Plan(Parse(Sd15), 20, Scheduler.Discrete, eta: 1),
            "sampler heun takes no eta: leave it out or choose one of euler_a, dpm2_a, dpm++2s_a, dpm++2m_sde, dpm++sde, ddim, ddim_trailing, tcd");
        Fails(() => Samplers.Ddim.Plan(Parse(Sd15), 20, Scheduler.Discrete, eta: 1.5), "eta 1.5: choose 0 to 1");
        Fails(() => Samplers.Ddim.Plan(Parse(Sd15), 20, Scheduler.Discrete, eta: double.NaN), "eta NaN: choose 0 to 1");
    }

    [Fact]
    public void A_share_of_no_noise_gives_the_samplers_that_draw_none()
    {
        void Same(Sampler one, Sampler other) => Assert.Equivalent(
            other.Plan(Parse(Sd15), 20, Scheduler.Discrete).Steps, one.Plan(Parse(Sd15), 20, Scheduler.Discrete, eta: 0).Steps, strict: true);

        Same(Samplers.EulerAncestral, Samplers.Euler);
        Same(Samplers.Dpm2Ancestral, Samplers.Dpm2);
        Same(Samplers.DpmPlusPlus2MSde, Samplers.DpmPlusPlus2M);
    }

    [Fact]
    public void A_run_cannot_begin_behind_the_last_different_level()
    {
        var levels = Samplers.Euler.Plan(Parse(Sd15), 500, Scheduler.Beta).Steps.Count;
        Assert.InRange(levels, 100, 499);
        Fails(() => Samplers.Euler.Plan(Parse(Sd15), 500, Scheduler.Beta, firstStep: 499),
            $"schedule beta has {levels} different levels for 500 steps; the run cannot begin at step 500");
    }

    [Fact]
    public void Steps_that_begin_beyond_training_are_refused() => Fails(
        () => Samplers.Euler.Plan(Parse("""{ "steps_offset": 2, "timestep_spacing": "leading" }"""), 999, Scheduler.Discrete),
        "config.json: 999 steps with steps_offset 2 begin at timestep 1000; the last one is 999");

    [Fact]
    public void Trailing_halves_are_rounded_as_numpy_rounds_them()
    {
        // numpy.arange(1000, 0, -1000 / 48)[3] is 937.4999999999999, not 937.5.
        Assert.Equal(936, Parse("{}").Timesteps(TimestepSpacing.Trailing, 48)[3]);
    }

    [Theory]
    [InlineData("prediction_type", "\"sample\"", "prediction_type is sample; only epsilon, v_prediction are supported")]
    [InlineData("beta_schedule", "\"sigmoid\"", "beta_schedule is sigmoid; only linear, scaled_linear, squaredcos_cap_v2 are supported")]
    [InlineData("timestep_spacing", "\"even\"", "timestep_spacing is even; only leading, linspace, trailing are supported")]
    [InlineData("final_sigmas_type", "\"half\"", "final_sigmas_type is half; only zero, sigma_min are supported")]
    [InlineData("num_train_timesteps", "0", "num_train_timesteps is 0; valid: 1 to 100000")]
    [InlineData("num_train_timesteps", "\"many\"", "num_train_timesteps is not an integer")]
    [InlineData("beta_end", "1.5", "beta_start, beta_end give 1.0000333 at step 666; betas lie between 0 and 1")]
    [InlineData("trained_betas", "[0.1, 0.2]", "trained_betas has 2 entries for 1000 num_train_timesteps")]
    [InlineData("trained_betas", "[\"a\"]", "trained_betas is not a list of numbers")]
    [InlineData("steps_offset", "\"one\"", "steps_offset is not an integer")]
    public void Configurations_that_cannot_be_used_are_refused(string key, string value, string message) =>
        Fails(() => Parse($"{{ \"{key}\": {value} }}"), $"config.json: {message}");

    [Fact]
    public void A_configuration_that_is_no_object_is_refused() => Fails(() => Parse("[]"), "config.json: is not a JSON object");

    [Fact]
    public void Trained_betas_replace_the_formula()
    {
        var schedule = Parse("""{ "num_train_timesteps": 3, "trained_betas": [0.5, 0.25, 0.125] }""");
        Assert.Equal([0.5, 0.375, 0.328125], Enumerable.Range(0, 3).Select(schedule.Alpha));
    }

    [Fact]
    public void Noise_cannot_be_predicted_where_there_is_no_signal()
    {
        var schedule = Parse("""{ "rescale_betas_zero_snr": true, "timestep_spacing": "trailing" }""");
        Assert.Equal(0, schedule.Alpha(schedule.TrainSteps - 1));
        var error = Assert.Throws<StableDiffusionException>(() => Samplers.Ddim.Plan(schedule, 20, Scheduler.Discrete));
        Assert.Contains("only v_prediction", error.Message, StringComparison.Ordinal);
    }

    /// <summary>Where levels are sigmas, diffusers takes 2^-24 for a last ᾱ of 0.</summary>
    [Fact]
    public void A_level_without_signal_is_a_large_sigma()
    {
        var schedule = Parse("""{ "rescale_betas_zero_snr": true, "prediction_type": "v_prediction", "timestep_spacing": "trailing" }""");
        var largest = Math.Sqrt((1 << 24) - 1);
        Assert.Equal(largest, schedule.Sigma(schedule.TrainSteps - 1), 1e-6);
        Assert.Equal(largest, Samplers.Euler.Plan(schedule, 20, Scheduler.Discrete).InitialNoiseScale, 1e-6);
    }

    /// <summary>DDIM's class ends at ᾱ = 1, PNDM's at that of step 0.</summary>
    [Theory]
    [InlineData("ddim", true)]
    [InlineData("pndm", false)]
    public void Where_a_run_ends_is_the_samplers_own_unless_it_is_said(string name, bool atOne)
    {
        double[] Last(string rest) => [.. Numbers(Samplers.Find(name).Plan(Parse(Sd15.Replace("}", rest + " }", StringComparison.Ordinal)), 20, Scheduler.Discrete).Steps[^1])];
        string Said(bool value) => $", \"set_alpha_to_one\": {(value ? "true" : "false")}";
        Assert.Equal(Last(Said(atOne)), Last(""));
        Assert.NotEqual(Last(Said(!atOne)), Last(""));
    }

    [Fact]
    public void Consistency_samplers_choose_from_no_more_steps_than_a_model_was_trained_in()
    {
        var schedule = Parse("""{ "num_train_timesteps": 20 }""");
        Assert.Equal([19, 14, 9, 4], Samplers.Lcm.Plan(schedule, 4, Scheduler.Discrete).Steps.Select(s => s.Timestep));
        Assert.Equal(20, schedule.ConsistencySteps);
    }

    [Fact]
    public void Runge_Kutta_needs_four_steps() => Fails(
        () => Samplers.Pndm.Plan(Parse("{}"), 3, Scheduler.Discrete), "steps 3: PLMS needs at least 4 with this model (its skip_prk_steps is false)");

    [Fact]
    public void A_sigmas_timestep_is_the_inverse_of_a_timesteps_sigma()
    {
        var schedule = Parse(Sd15);
        for (var t = 0; t < schedule.TrainSteps; t++)
        {
            Assert.Equal(t, schedule.Timestep(schedule.Sigma(t)), 1e-9);
        }
    }

    private static IEnumerable<double> Numbers(SamplingStep s) =>
        [s.InputScale, s.DerivedFromLatent, s.DerivedFromModel, s.Latent, s.Saved, s.Noise, .. s.History];

    private static NoiseSchedule Parse(string json) => NoiseSchedule.Parse(JsonSerializer.Deserialize<JsonElement>(json), "config.json");

    private static void Fails(Action action, string message) => Assert.Equal(message, Assert.Throws<StableDiffusionException>(action).Message);
}
