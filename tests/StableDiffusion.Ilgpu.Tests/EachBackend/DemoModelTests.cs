using System.Text.Json;
using System.Text.RegularExpressions;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Weights;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>The bundled model against its own reference outputs; tolerances of its README.</summary>
[Collection(SharedDevice.Name)]
public sealed class DemoModelTests(DeviceFixture fixture)
{
    private static readonly string Folder = Path.Combine(ReferenceData.Repository, "weights", "demo");

    private static readonly Lazy<TestTensors> Tensors = new(() =>
        TestTensors.Open(Path.Combine(Folder, "reference", "reference.safetensors")));

    private static readonly Lazy<JsonElement> Settings = new(
        () => JsonSerializer.Deserialize<JsonElement>(File.ReadAllBytes(Path.Combine(Folder, "reference", "reference.json"))));

    private static string[] Prompts => [.. Settings.Value.GetProperty("prompts").EnumerateArray().Select(p => p.GetString()!)];

    private static string Negative => Settings.Value.GetProperty("negative_prompt").GetString()!;

    private static double Guidance => Settings.Value.GetProperty("guidance_scale").GetDouble();

    [Fact]
    public void Every_stage_in_fp32() => CheckStages();

    [Fact]
    public void Pictures_in_fp16() => CheckPictures();

    private void CheckStages()
    {
        var backend = new Backend(BackendProfile.Best, Half: false);
        using var model = LoadedModel.Open(Folder);
        using var engine = new DiffusionEngine<float>(model, fixture.DeviceOf(backend), fixture.Kernels<float>(backend), FusionOptions.All);
        var comparisons = new Comparisons();
        var (ids, unconditionalIds) = (Prompts.SelectMany(model.Tokenize).ToArray(), model.Tokenize(Negative));
        Assert.Equal(Tensors.Value.Longs("input_ids"), ids.Select(id => (long)id));
        Assert.Equal(Tensors.Value.Longs("uncond_input_ids"), unconditionalIds.Select(id => (long)id));

        var (texts, unconditional) = (engine.Encode(ids), engine.Encode(unconditionalIds));
        comparisons.Compare("demo text_embeddings", texts, Tensors.Value.Floats("text_embeddings"), Limits.Text(half: false));
        comparisons.Compare("demo uncond_text_embeddings", unconditional, Tensors.Value.Floats("uncond_text_embeddings"),
            Limits.Text(half: false));

        var shape = Tensors.Value.Shape("initial_latents");
        var initial = Tensors.Value.Floats("initial_latents");
        var prediction = Tensors.Value.Names.Single(n => n.StartsWith("noise_pred_", StringComparison.Ordinal));
        var unet = engine.UNet(shape[0], shape[2], shape[3]);
        unet.Write("sample", Axes.ToChannelsLast(initial, shape));
        unet.Write("encoder_hidden_states", texts);
        unet.Write("timestep", [float.Parse(Regex.Match(prediction, "_t([0-9]+)_").Groups[1].Value)]);
        foreach (var program in unet.Programs)
        {
            program.Run();
        }

        comparisons.Compare(
            $"demo {prediction}", unet.Read("out"), Axes.ToChannelsLast(Tensors.Value.Floats(prediction), shape), Limits.UNet(half: false));

        var latents = Sample(model, engine, texts, unconditional);
        comparisons.Compare("demo final_latents", latents, Tensors.Value.Floats("final_latents"), Limits.FinalLatents(half: false));

        // From the stored latents, so that only the decoder's own error counts.
        var (stored, size) = (Tensors.Value.Floats("final_latents"), shape[1] * shape[2] * shape[3]);
        float[] decoded = [.. Enumerable.Range(0, shape[0])
            .SelectMany(i => engine.Decode(stored.AsSpan(i * size, size), shape[2], shape[3]))];
        byte[] bytes = [.. Enumerable.Range(0, shape[0])
            .SelectMany(i => engine.DecodeToBytes(stored.AsSpan(i * size, size), shape[2], shape[3]))];
        comparisons.Compare(
            "demo decoded", decoded, Axes.ToChannelsLast(Tensors.Value.Floats("decoded"), Tensors.Value.Shape("decoded")),
            Limits.Decoder(half: false));
        var expected = Tensors.Value.Bytes("images_u8_nhwc");
        Assert.Equal(expected.Length, bytes.Length);
        comparisons.Report("demo images_u8_nhwc, largest difference", bytes.Zip(expected, (a, b) => Math.Abs(a - b)).Max(), 1);
        comparisons.Verify();
    }

    private void CheckPictures()
    {
        var backend = new Backend(BackendProfile.Best, Half: true);
        using var model = LoadedModel.Open(Folder);
        using var engine = new DiffusionEngine<ushort>(model, fixture.DeviceOf(backend), fixture.Kernels<ushort>(backend), FusionOptions.All);
        var comparisons = new Comparisons();
        var latents = Sample(model, engine, engine.Encode(Prompts.SelectMany(model.Tokenize).ToArray()),
            engine.Encode(model.Tokenize(Negative)));
        var (shape, bytes) = (Tensors.Value.Shape("final_latents"), Tensors.Value.Bytes("images_u8_nhwc"));
        var (size, pixels) = (latents.Length / shape[0], bytes.Length / shape[0]);
        for (var i = 0; i < shape[0]; i++)
        {
            var picture = engine.DecodeToBytes(latents.AsSpan(i * size, size), shape[2], shape[3]);
            comparisons.ComparePictures(
                $"demo picture '{Prompts[i]}', fp16", [.. picture.Select(b => b / 255f)],
                [.. bytes.Skip(i * pixels).Take(pixels).Select(b => b / 255f)], 40);
        }

        comparisons.Verify();
    }

    /// <summary>All prompts' latents, one after the other, by the sampler and steps of reference.json.</summary>
    private static float[] Sample<T>(LoadedModel model, DiffusionEngine<T> engine, float[] texts, float[] unconditional) where T : unmanaged
    {
        var plan = Samplers.Find(Settings.Value.GetProperty("sampler").GetString()!.Split(' ')[0])
            .Plan(model.Schedule, Settings.Value.GetProperty("steps").GetInt32(), Scheduler.Discrete);
        Assert.Equal(Settings.Value.GetProperty("timesteps").EnumerateArray().Select(t => t.GetDouble()),
            plan.Steps.Select(s => s.Timestep));
        var (initial, shape) = (Tensors.Value.Floats("initial_latents"), Tensors.Value.Shape("initial_latents"));
        var (size, text) = (initial.Length / shape[0], unconditional.Length);
        return [.. Enumerable.Range(0, shape[0]).SelectMany(i => engine.Sample(new SamplingRun
        {
            Context = new StepContexts([.. unconditional, .. texts.AsSpan(i * text, text)]),
            Guidance = Guidance,
            Height = shape[2],
            Width = shape[3],
            Plan = plan,
            Draw = () => initial[(i * size)..((i + 1) * size)],
        }))];
    }
}
