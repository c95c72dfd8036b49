using System.Text.Json;
using StableDiffusion.Ilgpu.Compilation;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>
/// Full-size models with synthetic weights against diffusers' fp32 outputs, with fp16 and with fp32 storage. Each model is made once for
/// each storage.
/// </summary>
[Collection(SharedDevice.Name)]
[Trait("Kind", "Reference")]
public sealed class SyntheticModelTests(DeviceFixture fixture)
{
    private const string InfoSuffix = "-info.json";

    public static IEnumerable<TheoryDataRow<string, string>> Models =>
        from file in Directory.GetFiles(ReferenceData.PathOf("synthetic"), $"*{InfoSuffix}").Order(StringComparer.Ordinal)
        from backend in Backend.BestNames
        select new TheoryDataRow<string, string>(Path.GetFileName(file)[..^InfoSuffix.Length], backend);

    [Theory]
    [MemberData(nameof(Models))]
    public void Full_size_model(string name, string backend)
    {
        var info = JsonSerializer.Deserialize<JsonElement>(File.ReadAllBytes(ReferenceData.PathOf("synthetic", $"{name}{InfoSuffix}")));
        LoadedModel model;
        try
        {
            model = LoadedModel.Open($"synthetic:{info.GetProperty("model")}:{info.GetProperty("salt")}");
        }
        catch (StableDiffusionException e)
        {
            ReferenceData.LeaveOut($"synthetic {name}", e.Message);
            return;
        }

        using (model)
        {
            if (Backend.Find(backend).Half)
            {
                new Check<ushort>(fixture, name, model, info, Backend.Find(backend)).Run();
            }
            else
            {
                new Check<float>(fixture, name, model, info, Backend.Find(backend)).Run();
            }
        }
    }

    private sealed class Check<T>(DeviceFixture fixture, string name, LoadedModel model, JsonElement info, Backend backend)
        where T : unmanaged
    {
        private readonly TestTensors tensors = TestTensors.Open("synthetic", $"{name}-outputs.safetensors");
        private readonly Comparisons comparisons = new();

        public void Run()
        {
            using var engine = new DiffusionEngine<T>(model, fixture.DeviceOf(backend), fixture.Kernels<T>(backend), FusionOptions.All);
            Text(engine);
            foreach (var tag in Tags("unet.", ".sample"))
            {
                UNet(engine, tag);
            }

            foreach (var tag in Tags("vae.", ".z"))
            {
                Decoder(engine, tag);
            }

            if (tensors.Has("pipeline.initial_noise"))
            {
                Pipeline(engine);
            }

            foreach (var tag in Tags("vae.", ".mean"))
            {
                Encoder(engine, tag);
            }

            ReferenceData.LeaveOut($"synthetic {name} te.pooler_output", "Stable Diffusion reads last_hidden_state only");

            comparisons.Verify();
        }

        private void Text(DiffusionEngine<T> engine)
        {
            int[] ids = [.. tensors.Longs("te.input_ids").Select(id => (int)id)];
            int[] made = [.. info.GetProperty("prompts").EnumerateArray().SelectMany(p => model.Tokenize(p.GetString()!))];
            Assert.Equal(ids, made);
            Compare("te.last_hidden_state", engine.Encode(ids), tensors.Floats("te.last_hidden_state"), Limits.SyntheticText(backend.Half));
        }

        private void UNet(DiffusionEngine<T> engine, string tag)
        {
            var shape = tensors.Shape($"{tag}.sample");
            // Batch 2 has both prompts, batch 1 the first one.
            var (texts, textShape) = (tensors.Floats("te.last_hidden_state"), tensors.Shape("te.last_hidden_state"));
            var unet = engine.UNet(shape[0], shape[2], shape[3]);
            unet.Write("sample", Axes.ToChannelsLast(tensors.Floats($"{tag}.sample"), shape));
            unet.Write("encoder_hidden_states", texts.AsSpan(0, texts.Length / textShape[0] * shape[0]));
            unet.Write("timestep", [.. tensors.Longs($"{tag}.timestep").Select(t => (float)t)]);
            foreach (var program in unet.Programs)
            {
                program.Run();
            }

            Compare($"{tag}.out", unet.Read("out"), Axes.ToChannelsLast(tensors.Floats($"{tag}.out"), shape),
                Limits.SyntheticUNet(backend.Half));
        }

        private void Decoder(DiffusionEngine<T> engine, string tag)
        {
            var shape = tensors.Shape($"{tag}.z");
            // The engine divides by the scaling factor, which z has behind it.
            float[] latent = [.. tensors.Floats($"{tag}.z").Select(z => (float)(z * model.VaeConfig.ScalingFactor))];
            ComparePicture($"{tag}.out", engine.Decode(latent, shape[2], shape[3]), shape[2..], Limits.SyntheticDecoder(backend.Half));
        }

        /// <summary>The picture is a formula of the README: not stored.</summary>
        private void Encoder(DiffusionEngine<T> engine, string tag)
        {
            var shape = tensors.Shape($"{tag}.mean");
            var scale = model.VaeConfig.PixelsPerLatent;
            float[] picture = [..
                from y in Enumerable.Range(0, shape[2] * scale)
                from x in Enumerable.Range(0, shape[3] * scale)
                from c in Enumerable.Range(0, 3)
                select (float)(0.8 * Math.Sin((0.05 * (c + 1) * x) + (0.031 * y) + c) * Math.Cos((0.043 * y) - (0.021 * (c + 1) * x)))];
            var latent = engine.EncodePicture(picture, shape[2] * scale, shape[3] * scale);
            Compare($"{tag}.mean", latent.Mean.ToArray(), tensors.Floats($"{tag}.mean"), Limits.SyntheticEncoder(backend.Half));
            Compare($"{tag}.logvar", latent.LogVariance, tensors.Floats($"{tag}.logvar"), Limits.SyntheticEncoder(backend.Half));
        }

        private void Pipeline(DiffusionEngine<T> engine)
        {
            var settings = info.GetProperty("pipeline");
            var (shape, noise) = (tensors.Shape("pipeline.initial_noise"), tensors.Floats("pipeline.initial_noise"));
            var plan = Samplers.Find(settings.GetProperty("scheduler").GetString()!)
                .Plan(model.Schedule, settings.GetProperty("steps").GetInt32(), Scheduler.Discrete);
            Assert.Equal(settings.GetProperty("timesteps").EnumerateArray().Select(t => t.GetDouble()), plan.Steps.Select(s => s.Timestep));

            // Prompt 0 is the positive one; the engine takes the negative one first.
            var prompts = info.GetProperty("prompts").EnumerateArray().Select(p => p.GetString()!).Reverse();
            var latents = engine.Sample(new SamplingRun
            {
                Context = new StepContexts(engine.Encode(prompts.SelectMany(model.Tokenize).ToArray())),
                Guidance = settings.GetProperty("guidance_scale").GetDouble(),
                Height = shape[2],
                Width = shape[3],
                Plan = plan,
                Draw = () => noise,
            });
            var limit = Limits.SyntheticLatents(backend.Half);
            Compare("pipeline.final_latents", latents, tensors.Floats("pipeline.final_latents"), limit);

            // The README gives no limit for the picture of the whole run: its latents' and its decoder's together.
            ComparePicture("pipeline.decoded", engine.Decode(latents, shape[2], shape[3]), shape[2..],
                limit + Limits.SyntheticDecoder(backend.Half));
        }

        /// <summary>Pictures are stored as every second or fourth row and column, and as means of 8x8 blocks.</summary>
        private void ComparePicture(string tensor, float[] picture, int[] latent, double limit)
        {
            var channels = tensors.Shape($"{tensor}.mean8x8")[1];
            var (width, height) = (latent[1] * model.VaeConfig.PixelsPerLatent, latent[0] * model.VaeConfig.PixelsPerLatent);
            var (stride, block) = (height / tensors.Shape($"{tensor}.stride")[2], height / tensors.Shape($"{tensor}.mean8x8")[2]);
            Compare($"{tensor}.stride", Blocks(stride, 1), tensors.Floats($"{tensor}.stride"), limit);
            Compare($"{tensor}.mean8x8", Blocks(block, block), tensors.Floats($"{tensor}.mean8x8"), limit);

            // The means of size x size pixels at every step, channels first.
            float[] Blocks(int step, int size) => [..
                from c in Enumerable.Range(0, channels)
                from y in Enumerable.Range(0, height / step)
                from x in Enumerable.Range(0, width / step)
                select (float)(
                    from dy in Enumerable.Range(0, size)
                    from dx in Enumerable.Range(0, size)
                    select (double)picture[(((((y * step) + dy) * width) + (x * step) + dx) * channels) + c]).Average()];
        }

        private void Compare(string tensor, float[] actual, float[] expected, double limit) =>
            comparisons.Compare($"synthetic {name} {tensor}, {backend}", actual, expected, limit);

        private IEnumerable<string> Tags(string prefix, string suffix) => tensors.Names
            .Where(n => n.StartsWith(prefix, StringComparison.Ordinal) && n.EndsWith(suffix, StringComparison.Ordinal))
            .Select(n => n[..^suffix.Length]);
    }
}
