using System.Text.Json;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Sampling;
using StableDiffusion.Ilgpu.Tests.NoDevice;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>
/// Runs of diffusers' pipelines on the small checkpoints: prompts, pictures and masks in, latents after each step and pictures out.
/// </summary>
[Collection(SharedDevice.Name)]
[Trait("Kind", "Reference")]
public sealed class TinyPipelineTests(DeviceFixture fixture)
{
    public static IEnumerable<TheoryDataRow<string, string, string>> Runs =>
        from model in TinyModels.Names
        from run in TinyModels.Json(model, "pipelines").GetProperty("runs").EnumerateObject()
        from backend in Backend.BestNames
        select new TheoryDataRow<string, string, string>(model, run.Name, backend);

    [Theory]
    [MemberData(nameof(Runs))]
    public void Run_gives_diffusers_latents_and_picture(string model, string run, string backend)
    {
        var json = TinyModels.Json(model, "pipelines").GetProperty("runs").GetProperty(run);
        var scheduler = json.GetProperty("scheduler");
        if (SchedulersPipelineTests.SamplerOf(scheduler) is not { } sampler)
        {
            ReferenceData.LeaveOut($"{model} {run}", $"this form of {scheduler.GetProperty("_class_name")} is not built yet");
        }
        else if (Backend.Find(backend).Half)
        {
            Check<ushort>(model, run, json, sampler, Backend.Find(backend));
        }
        else
        {
            Check<float>(model, run, json, sampler, Backend.Find(backend));
        }
    }

    private void Check<T>(string name, string run, JsonElement json, Sampler sampler, Backend backend) where T : unmanaged
    {
        using var model = TinyModels.Load(name);
        using var engine = new DiffusionEngine<T>(model, fixture.Device, fixture.Kernels<T>(backend), FusionOptions.All);
        var (tensors, comparisons) = (TinyModels.Tensors(name, "pipelines"), new Comparisons());
        var scheduler = json.GetProperty("scheduler");
        var strength = json.TryGetProperty("strength", out var given) && given.ValueKind == JsonValueKind.Number ? given.GetDouble() : 1;
        var firstStep = PictureStart.FirstStep(json.GetProperty("steps").GetInt32(), strength);
        var plan = sampler.Plan(
            NoiseSchedule.Parse(scheduler, run), json.GetProperty("steps").GetInt32(), DiffusersSamplers.SchedulerOf(scheduler), firstStep);
        var scale = json.GetProperty("guidance_scale").GetDouble();
        double? guidance = scale == 1 ? null : scale;

        var initial = tensors.Has($"{run}.initial_noise") ? $"{run}.initial_noise" : "initial_noise";
        var shape = tensors.Shape(initial);
        var (items, size, what) = (shape[0], shape[1] * shape[2] * shape[3], $"{name} {run}");
        var context = Contexts(name, json, items).Select(prompts => Encode(prompts.Negative, prompts.Positive)).ToArray();
        var kind = run.Split('.')[0];
        var picture = !tensors.Has($"{kind}.input_image") ? null : PictureStart.Create(
            engine, model, Axes.ToChannelsLast(tensors.Floats($"{kind}.input_image"), tensors.Shape($"{kind}.input_image")),
            tensors.Has($"{kind}.mask") ? tensors.Floats($"{kind}.mask") : null, tensors.Shape($"{kind}.input_image")[2],
            tensors.Shape($"{kind}.input_image")[3], firstStep, meanLatent: false, circular: false, TestContext.Current.CancellationToken);
        if (tensors.Has($"{run}.trajectory") && (!backend.Half || picture is null))
        {
            // Step by step, where an error can be told from rounding: the run is taken up to each step in turn. For fp16 storage the README
            // names a limit for the final latents alone, and runs that begin with a picture come nearer to it on their way.
            for (var step = 1; step < plan.Steps.Count; step++)
            {
                CompareLatents($"{run}.trajectory", step - 1, Sample(step), $"{what} after step {step}, {backend}");
            }
        }

        var latents = Sample(plan.Steps.Count);
        CompareLatents($"{run}.final_latents", 0, latents, $"{what} final_latents, {backend}");
        if (tensors.Has($"{run}.image"))
        {
            var expected = Axes.ToChannelsLast(tensors.Floats($"{run}.image"), tensors.Shape($"{run}.image"));
            float[] actual = [.. Enumerable.Range(0, items)
                .SelectMany(i => engine.Decode(latents.AsSpan(i * size, size), shape[2], shape[3]))
                .Select(v => Math.Clamp((v / 2) + 0.5f, 0, 1))];
            comparisons.ComparePictures($"{what} image, {backend}", actual, expected, Limits.Picture(backend.Half));
        }

        comparisons.Verify();

        float[] Encode(string negative, string positive)
        {
            string[] prompts = guidance is null ? [positive] : [negative, positive];
            var encoded = engine.Encode(prompts.SelectMany(model.Tokenize).ToArray());
            if (items == 1)
            {
                float[] stored = [.. guidance is null ? [] : tensors.Floats("negative_prompt_embeds"), .. tensors.Floats("prompt_embeds")];
                comparisons.Compare($"{what} prompt_embeds, {backend}", encoded, stored, Limits.Text(backend.Half));
            }

            return encoded;
        }

        // One picture after the other, each with its own prompts and noise, as the pipeline makes a batch.
        float[] Sample(int steps) => [.. Enumerable.Range(0, items).SelectMany(item =>
        {
            // Without a picture the first noise has a name of its own.
            var draw = picture is null ? -1 : 0;
            var begin = new SamplingRun
            {
                Context = new StepContexts(context[item]),
                Guidance = guidance,
                Height = shape[2],
                Width = shape[3],
                Plan = plan with { Steps = [.. plan.Steps.Take(steps)], End = steps < plan.Steps.Count ? plan.Steps[steps].Start : plan.End },
                Draw = () => draw++ < 0 ? tensors.Floats(initial)[(item * size)..((item + 1) * size)] : tensors.Floats($"{run}.noise.{draw - 1}"),
            };
            return engine.Sample(picture?.Apply(begin) ?? begin);
        })];

        void CompareLatents(string tensor, int index, float[] actual, string description) =>
            comparisons.Compare(description, actual, tensors.Floats(tensor).AsSpan(index * actual.Length, actual.Length),
                Limits.FinalLatents(backend.Half));
    }

    /// <summary>The prompts of each picture: the run's own, or those of the whole file.</summary>
    private static IEnumerable<(string Negative, string Positive)> Contexts(string model, JsonElement run, int items)
    {
        var all = TinyModels.Json(model, "pipelines");
        return Enumerable.Range(0, items).Select(i => run.TryGetProperty("prompts", out var prompts)
            ? (run.GetProperty("negative")[i].GetString()!, prompts[i].GetString()!)
            : (all.GetProperty("negative_prompt").GetString()!, all.GetProperty("prompt").GetString()!));
    }
}
