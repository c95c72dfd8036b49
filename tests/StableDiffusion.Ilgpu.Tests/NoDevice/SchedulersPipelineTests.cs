using System.Text.Json;
using StableDiffusion.Ilgpu.Sampling;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>The timesteps that diffusers' pipelines ran, from the scheduler configuration of the model's folder alone.</summary>
[Trait("Kind", "Reference")]
public class SchedulersPipelineTests
{
    /// <summary>The set's models with text-to-image runs; runs that start from a picture store no timesteps.</summary>
    public static TheoryData<string> Models => [.. Directory.GetDirectories(ReferenceData.Folder, "tiny-*")
        .Select(folder => Path.GetFileName(folder))
        .Where(model => Pipelines(model).Names.Any(name => name.EndsWith(".timesteps", StringComparison.Ordinal)))];

    [Theory]
    [MemberData(nameof(Models))]
    public void A_folders_configuration_gives_the_pipelines_timesteps(string model)
    {
        var config = Parse(model, "scheduler", "scheduler_config.json");
        var schedule = NoiseSchedule.Parse(config, model);
        var tensors = Pipelines(model);
        var compared = 0;
        foreach (var run in Parse(model, "reference", "pipelines.json").GetProperty("runs").EnumerateObject())
        {
            var scheduler = run.Value.GetProperty("scheduler");
            if (!tensors.Has($"{run.Name}.timesteps"))
            {
                continue;
            }

            if (SamplerOf(scheduler) is not { } sampler)
            {
                TestContext.Current.TestOutputHelper?.WriteLine(
                    $"left out: {model} {run.Name}.timesteps: this form of {scheduler.GetProperty("_class_name")} is not built yet");
                continue;
            }

            var plan = sampler.Plan(schedule, run.Value.GetProperty("steps").GetInt32(), DiffusersSamplers.SchedulerOf(scheduler));
            var expected = tensors.Floats($"{run.Name}.timesteps");
            Assert.Equal(expected.Length, plan.Steps.Count);
            var error = expected.Select((t, i) => Math.Abs(plan.Steps[i].Timestep - t)).Max();

            // Even fractions are fp32 in diffusers: half a unit in the last place of 999 is 3e-5. Those found for sigmas come by way of the alphas.
            ReferenceData.Report($"{model} {run.Name}.timesteps", error, expected.All(float.IsInteger) ? 0
                : DiffusersSamplers.SchedulerOf(scheduler) == Scheduler.Discrete ? 1e-4 : SchedulersReferenceTests.FractionalTimestepLimit);
            compared++;
        }

        Assert.NotEqual(0, compared);
    }

    /// <summary>Null where the library has no such sampler.</summary>
    internal static Sampler? SamplerOf(JsonElement scheduler) => DiffusersSamplers.Find(scheduler.GetProperty("_class_name").GetString()!, scheduler);

    private static TestTensors Pipelines(string model) => TestTensors.Open(model, "reference", "pipelines.safetensors");

    private static JsonElement Parse(params string[] path) => JsonSerializer.Deserialize<JsonElement>(File.ReadAllBytes(ReferenceData.PathOf(path)));
}
