using System.Text.Json;
using StableDiffusion.Ilgpu.Sampling;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>A case of the reference's schedulers.json, in the library's terms.</summary>
internal sealed class SchedulerCase
{
    private static readonly Lazy<JsonDocument> File =
        new(() => JsonDocument.Parse(System.IO.File.ReadAllBytes(ReferenceData.PathOf("schedulers", "schedulers.json"))));

    private readonly JsonElement json;

    public SchedulerCase(string name)
    {
        Name = name;
        json = Root.GetProperty("cases").GetProperty(name);
    }

    public static JsonElement Root => File.Value.RootElement;

    public static IEnumerable<string> Names => Root.GetProperty("cases").EnumerateObject().Select(c => c.Name);

    public string Name { get; }

    public IEnumerable<int> Steps => json.GetProperty("steps").EnumerateArray().Select(n => n.GetInt32());

    public string Class => json.GetProperty("diffusers_class").GetString()!;

    public Scheduler Scheduler => DiffusersSamplers.SchedulerOf(Config);

    /// <summary>Null where the library has no such sampler.</summary>
    public Sampler? Sampler => DiffusersSamplers.Find(Class, Config);

    /// <summary>The share of noise that diffusers was given; null for none.</summary>
    public double? Eta => json.TryGetProperty("step_kwargs", out var options) && options.TryGetProperty("eta", out var eta) ? eta.GetDouble() : null;

    /// <summary>Where the class ends: final_sigmas_type, which some know, or what they have in its place.</summary>
    public double FinalSigma => Class switch
    {
        "DEISMultistepScheduler" => Schedule.Sigma(0),
        "EulerDiscreteScheduler" or "DPMSolverMultistepScheduler" or "DPMSolverSinglestepScheduler" or "UniPCMultistepScheduler" =>
            Schedule.FinalSigma,
        _ => 0,
    };

    /// <summary>All coefficients of a run, by the options that diffusers ran with.</summary>
    public SamplingPlan Plan(int steps) => Sampler!.Plan(Schedule, steps, Scheduler, eta: Eta);

    /// <summary>Every option that diffusers ran with.</summary>
    public NoiseSchedule Schedule => NoiseSchedule.Parse(Config, Name);

    /// <summary>The same from what a file would say: class defaults are left out.</summary>
    public NoiseSchedule ScheduleWithDefaults
    {
        get
        {
            var merged = Root.GetProperty("base_config").EnumerateObject().ToDictionary(o => o.Name, o => o.Value);
            foreach (var option in json.GetProperty("overrides").EnumerateObject())
            {
                merged[option.Name] = option.Value;
            }

            return NoiseSchedule.Parse(JsonSerializer.SerializeToElement(merged), Name);
        }
    }

    /// <summary>The reference's alphas are exact enough for this; other betas' are less so (README of the set).</summary>
    public double SigmaLimit => new[] { "beta_start", "beta_end", "beta_schedule" }.All(
        key => JsonElement.DeepEquals(Config.GetProperty(key), Sd15Betas.GetProperty(key))) ? 3e-5 : 1e-4;

    private static JsonElement Sd15Betas { get; } =
        JsonSerializer.Deserialize<JsonElement>("""{ "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear" }""");

    private JsonElement Config => json.GetProperty("effective_config");

    public int NoiseCount(int steps) => json.GetProperty("noises_per_run").GetProperty($"{steps}").GetInt32();
}
