using System.Text.Json;
using StableDiffusion.Ilgpu.Compilation;
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
    /// <summary>With fp32 storage unfused too, where a rule's mistake cannot hide behind rounding.</summary>
    public static IEnumerable<TheoryDataRow<string, string, string, bool>> Runs =>
        from model in TinyModels.Names
        from run in TinyModels.Json(model, "pipelines").GetProperty("runs").EnumerateObject()
        from backend in Backend.BestNames
        from fused in Backend.Find(backend).Half ? [true] : new[] { true, false }
        select new TheoryDataRow<string, string, string, bool>(model, run.Name, backend, fused);

    [Theory]
    [MemberData(nameof(Runs))]
    public void Run_gives_diffusers_latents_and_picture(string model, string run, string backend, bool fused)
    {
        var json = TinyModels.Json(model, "pipelines").GetProperty("runs").GetProperty(run);
        var fusion = fused ? FusionOptions.All : FusionOptions.None;
        var scheduler = json.GetProperty("scheduler");
        if (SchedulersPipelineTests.SamplerOf(scheduler) is not { } sampler)
        {
            ReferenceData.LeaveOut($"{model} {run}", $"this form of {scheduler.GetProperty("_class_name")} is not built yet");
        }
        else if (Backend.Find(backend).Half)
        {
            Check<ushort>(model, run, json, sampler, Backend.Find(backend), fusion);
        }
        else
        {
            Check<float>(model, run, json, sampler, Backend.Find(backend), fusion);
        }
    }

    private void Check<T>(string name, string run, JsonElement json, Sampler sampler, Backend backend, FusionOptions fusion) where T : unmanaged
    {
        using var model = TinyModels.Load(name);
        var tiny = new TinyRun(name, run, json, sampler, model);
        var (tensors, comparisons, what) = (tiny.Tensors, new Comparisons(), $"{name} {run}");
        var how = ReferenceEquals(fusion, FusionOptions.None) ? $"{backend} unfused" : $"{backend}";
        using var engine = new DiffusionEngine<T>(model, fixture.DeviceOf(backend), fixture.Kernels<T>(backend), fusion);
        var walk = tiny.Start(engine);
        if (walk.Contexts is [var context])
        {
            float[] stored = [.. tiny.Guidance is null ? [] : tensors.Floats("negative_prompt_embeds"), .. tensors.Floats("prompt_embeds")];
            comparisons.Compare($"{what} prompt_embeds, {how}", context, stored, Limits.Text(backend.Half));
        }

        var trajectory = walk.Trajectory();
        var (latentLimit, pictureLimit) = (Limits.FinalLatents(backend.Half), Limits.Picture(backend.Half));
        var (final, expectedFinal) = (trajectory[^1], tensors.Floats($"{run}.final_latents"));
        if (backend.Half && (tiny.HasPicture || Comparisons.RelativeL2(final, expectedFinal) > latentLimit))
        {
            (latentLimit, pictureLimit) = Widen(tiny, model, backend, latentLimit, pictureLimit);
        }

        if (tensors.Has($"{run}.trajectory") && (!backend.Half || !tiny.HasPicture))
        {
            // With a picture only where an error can be told from rounding; the README names a limit for the final latents alone.
            for (var step = 1; step < tiny.Plan.Steps.Count; step++)
            {
                var latents = trajectory[step - 1];
                comparisons.Compare($"{what} after step {step}, {how}", latents,
                    tensors.Floats($"{run}.trajectory").AsSpan((step - 1) * latents.Length, latents.Length), latentLimit);
            }
        }

        comparisons.Compare($"{what} final_latents, {how}", final, expectedFinal, latentLimit);
        if (tensors.Has($"{run}.image"))
        {
            var expected = Axes.ToChannelsLast(tensors.Floats($"{run}.image"), tensors.Shape($"{run}.image"));
            comparisons.ComparePictures($"{what} image, {how}", walk.Pictures(final), expected, pictureLimit);
        }

        comparisons.Verify();
    }

    /// <summary>
    /// The README's limits for fp16 storage are three times estimates that it has for some text-to-image runs; others, those that begin with a
    /// picture above all, can amplify rounding more. Where one does, three times its own estimate takes their place: what the unfused graphs with fp16 storage, whose
    /// values are rounded at other places, differ from those with fp32 storage, which are held to the reference by themselves.
    /// </summary>
    private (double Latents, double Picture) Widen(TinyRun tiny, LoadedModel model, Backend backend, double latentLimit, double pictureLimit)
    {
        var single = backend with { Half = false };
        using var exactEngine = new DiffusionEngine<float>(model, fixture.DeviceOf(single), fixture.Kernels<float>(single), FusionOptions.All);
        using var roundedEngine = new DiffusionEngine<ushort>(model, fixture.DeviceOf(backend), fixture.Kernels<ushort>(backend), FusionOptions.None);
        var exactWalk = tiny.Start(exactEngine);
        var roundedWalk = tiny.Start(roundedEngine);
        var (exact, rounded) = (exactWalk.Trajectory()[^1], roundedWalk.Trajectory()[^1]);
        var estimate = Math.Sqrt(exact.Zip(rounded, (e, r) => Math.Pow(r - (double)e, 2)).Sum() / exact.Sum(e => (double)e * e));
        var square = exactWalk.Pictures(exact).Zip(exactWalk.Pictures(rounded), (e, r) => Math.Pow(r - (double)e, 2)).Average();
        return (Math.Max(latentLimit, 3 * estimate), Math.Min(pictureLimit, -10 * Math.Log10(9 * square)));
    }
}
