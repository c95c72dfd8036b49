using System.Collections.Concurrent;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Models;
using StableDiffusion.Ilgpu.Weights;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>Text encoder, UNet and autoencoder of the reference's small checkpoints, on every backend, unfused and fused.</summary>
[Collection(SharedDevice.Name)]
[Trait("Kind", "Reference")]
public sealed class TinyModelTests(DeviceFixture fixture)
{
    public static MatrixTheoryData<string, string> Models => new(TinyModels.Names, Backend.Names);

    /// <summary>The single files too, on the leaf that users get: their weights are the folders'.</summary>
    public static IEnumerable<TheoryDataRow<string, string>> ModelsAndSingleFiles =>
        from models in new[]
        {
            (Names: TinyModels.Names, Backends: Backend.Names), (Names: TinyModels.SingleFiles, Backends: Backend.BestNames),
        }
        from model in models.Names
        from backend in models.Backends
        select new TheoryDataRow<string, string>(model, backend);

    /// <summary>The portable leaf is slow on the CPU: it takes the cases of up to so many latent pixels.</summary>
    private const int MostPortablePixels = 256;

    private const int MostPortableDecoderPixels = 64;

    private const int MostPortableEncoderPixels = 96;

    private static readonly ConcurrentDictionary<(string What, bool Half), Dictionary<string, double>> Roundings = [];

    private static IEnumerable<(string Name, FusionOptions Options)> Fusions =>
        [("unfused", FusionOptions.None), ("fused", FusionOptions.All)];

    [Fact]
    public void Models_of_other_kinds_are_named()
    {
        foreach (var (name, reason) in TinyModels.LeftOut)
        {
            ReferenceData.LeaveOut(name, reason);
        }

        Assert.NotEmpty(TinyModels.Names);
    }

    [Theory]
    [MemberData(nameof(ModelsAndSingleFiles))]
    public void Text_encoder(string model, string backend) =>
        Dispatch(backend, b => Encode<ushort>(model, b), b => Encode<float>(model, b));

    [Theory]
    [MemberData(nameof(ModelsAndSingleFiles))]
    public void Denoiser(string model, string backend) =>
        Dispatch(backend, b => Denoise<ushort>(model, b), b => Denoise<float>(model, b));

    [Theory]
    [MemberData(nameof(Models))]
    public void Denoiser_module_by_module(string model, string backend) => Dispatch(
        backend, b => Intermediates<ushort>(model, b, ModelPart.UNet), b => Intermediates<float>(model, b, ModelPart.UNet));

    [Theory]
    [MemberData(nameof(ModelsAndSingleFiles))]
    public void Decoder(string model, string backend) =>
        Dispatch(backend, b => Decode<ushort>(model, b), b => Decode<float>(model, b));

    [Theory]
    [MemberData(nameof(ModelsAndSingleFiles))]
    public void Encoder(string model, string backend) =>
        Dispatch(backend, b => EncodePicture<ushort>(model, b), b => EncodePicture<float>(model, b));

    [Theory]
    [MemberData(nameof(Models))]
    public void Autoencoder_module_by_module(string model, string backend) => Dispatch(
        backend, b => Intermediates<ushort>(model, b, ModelPart.Vae), b => Intermediates<float>(model, b, ModelPart.Vae));

    private static void Dispatch(string backend, Action<Backend> half, Action<Backend> single) =>
        (Backend.Find(backend).Half ? half : single)(Backend.Find(backend));

    private void Encode<T>(string name, Backend backend) where T : unmanaged
    {
        using var model = TinyModels.Load(name);
        var (tensors, comparisons) = (TinyModels.Tensors(name, "text_encoder"), new Comparisons());
        int[] ids = [.. tensors.Longs("input_ids").Select(id => (int)id)];
        int[] made = [.. TinyModels.Json(name, "prompts").GetProperty("prompts").EnumerateArray()
            .SelectMany(p => model.Tokenize(p.GetString()!))];
        comparisons.Report($"{name} text_encoder input_ids, number that differs",
            ids.Zip(made).Count(p => p.First != p.Second) + Math.Abs(ids.Length - made.Length), 0);
        foreach (var (fusion, options) in Fusions)
        {
            var graph = model.RecordText(ids.Length / model.TextConfig.Tokens);
            foreach (var (key, value) in graph.Names.Where(n => n.Key.StartsWith("hidden_states.", StringComparison.Ordinal)))
            {
                graph.Output(key, value);
            }

            using var run = new GraphRun<T>(fixture, backend, graph, options, model.OpenWeights(ModelPart.TextEncoder));
            run.Run("input_ids", ids);
            foreach (var tensor in tensors.Names.Where(t => t is not ("input_ids" or "pooler_output")))
            {
                // Hidden states are stored of prompt 1 alone.
                var expected = tensors.Floats(tensor);
                var actual = run.Read(tensor);
                actual = actual.Length == expected.Length ? actual : actual[expected.Length..(2 * expected.Length)];
                comparisons.Compare($"{name} text_encoder {tensor}, {backend}, {fusion}", actual, expected, Limits.Text(backend.Half));
            }
        }

        ReferenceData.LeaveOut($"{name} text_encoder pooler_output", "Stable Diffusion reads last_hidden_state only");
        comparisons.Verify();
    }

    private void Denoise<T>(string name, Backend backend) where T : unmanaged
    {
        using var model = TinyModels.Load(name);
        var (tensors, comparisons) = (TinyModels.Tensors(name, "unet"), new Comparisons());
        foreach (var id in CasesOf($"{name} unet", tensors, ".sample", ".sample", backend, MostPortablePixels))
        {
            float[] timesteps = tensors.Has($"{id}.timesteps")
                ? [.. tensors.Longs($"{id}.timesteps").Select(t => (float)t)]
                : [float.Parse(id[(id.LastIndexOf('t') + 1)..])];
            Recorded Recorded()
            {
                var (sample, context) = (tensors.Shape($"{id}.sample"), tensors.Shape($"{id}.encoder_hidden_states"));
                return new(
                    UNet.Record(model.UNetConfig, sample[0], sample[2], sample[3], context[1], timesteps.Length), () => model.OpenWeights(ModelPart.UNet),
                    [
                        ("sample", tensors.Floats($"{id}.sample"), sample),
                        ("encoder_hidden_states", tensors.Floats($"{id}.encoder_hidden_states"), context),
                        ("timestep", timesteps, [timesteps.Length]),
                    ]);
            }

            foreach (var (fusion, options) in Fusions)
            {
                var recorded = Recorded();
                using var run = new GraphRun<T>(fixture, backend, recorded.Graph, options, recorded.Weights());
                run.Run(recorded.Inputs);
                Compare(comparisons, $"{name} unet {id}, {backend}, {fusion}", run.Read("out"), tensors, $"{id}.out", Limits.UNet(backend.Half),
                    backend, () => RoundingOf($"{name} unet {id}", backend.Half, () => [Recorded()])["out"]);
            }
        }

        comparisons.Verify();
    }

    private void Decode<T>(string name, Backend backend) where T : unmanaged
    {
        using var model = TinyModels.Load(name);
        var (tensors, comparisons) = (TinyModels.Tensors(name, "vae"), new Comparisons());
        foreach (var id in CasesOf($"{name} vae", tensors, ".z", ".z", backend, MostPortableDecoderPixels))
        {
            var shape = tensors.Shape($"{id}.z");
            foreach (var (fusion, options) in Fusions)
            {
                var graph = AutoencoderKl.RecordDecoder(model.VaeConfig, shape[0], shape[2], shape[3]);
                using var run = new GraphRun<T>(fixture, backend, graph, options, model.OpenWeights(ModelPart.Vae));
                run.Run(("z", tensors.Floats($"{id}.z"), shape));
                Compare(comparisons, $"{name} vae {id}, {backend}, {fusion}", run.Read("out"), tensors, $"{id}.out",
                    Limits.Decoder(backend.Half));
            }
        }

        comparisons.Verify();
    }

    private void EncodePicture<T>(string name, Backend backend) where T : unmanaged
    {
        using var model = TinyModels.Load(name);
        var (tensors, comparisons) = (TinyModels.Tensors(name, "vae"), new Comparisons());
        foreach (var id in CasesOf($"{name} vae", tensors, ".image", ".mean", backend, MostPortableEncoderPixels))
        {
            var shape = tensors.Shape($"{id}.image");
            foreach (var (fusion, options) in Fusions)
            {
                using var engine = new DiffusionEngine<T>(model, fixture.DeviceOf(backend), fixture.Kernels<T>(backend), options);
                var latent = engine.EncodePicture(Axes.ToChannelsLast(tensors.Floats($"{id}.image"), shape), shape[2], shape[3]);
                comparisons.Compare($"{name} vae {id}.mean, {backend}, {fusion}", latent.Mean, tensors.Floats($"{id}.mean"), Limits.Encoder(backend.Half));

                // The README names a limit for the mean alone; the other half of the same layer's output is held to it too.
                comparisons.Compare(
                    $"{name} vae {id}.logvar, {backend}, {fusion}", latent.LogVariance, tensors.Floats($"{id}.logvar"), Limits.Encoder(backend.Half));
            }
        }

        comparisons.Verify();
    }

    /// <summary>All module outputs that the set stores, read as further outputs.</summary>
    private void Intermediates<T>(string name, Backend backend, ModelPart part) where T : unmanaged
    {
        using var model = TinyModels.Load(name);
        var (file, limit) = part == ModelPart.UNet ? ("unet", Limits.UNet(backend.Half)) : ("vae", Limits.Decoder(backend.Half));
        var (tensors, comparisons) = (TinyModels.Tensors(name, $"{file}_intermediates"), new Comparisons());
        foreach (var (fusion, options) in Fusions)
        {
            HashSet<string> modules = [.. tensors.Names.Where(t => t != "output" && !t.StartsWith("input.", StringComparison.Ordinal))];
            foreach (var (graph, weights, inputs) in RecordAll(model, part, tensors))
            {
                string[] read = [.. modules.Where(graph.Outputs.ContainsKey)];
                modules.ExceptWith(read);
                using var run = new GraphRun<T>(fixture, backend, graph, options, weights());
                run.Run(inputs);
                foreach (var module in read)
                {
                    var (what, own) = ($"{name} {file} {module}, {backend}, {fusion}", LimitOf(module, backend, limit));

                    // A tighter limit than its component's is there to show mistakes as small as a wrong epsilon, so it stands.
                    if (own < limit)
                    {
                        Compare(comparisons, what, run.Read(module), tensors, module, own);
                    }
                    else
                    {
                        Compare(comparisons, what, run.Read(module), tensors, module, own, backend, () => Rounding(module));
                    }
                }

                if (tensors.Has("output"))
                {
                    Compare(comparisons, $"{name} {file} output, {backend}, {fusion}", run.Read("out"), tensors, "output", limit, backend,
                        () => Rounding("out"));
                }
            }

            Assert.True(modules.Count == 0, $"no graph has a value called {string.Join(", ", modules)}");
        }

        comparisons.Verify();

        double Rounding(string output) => RoundingOf($"{name} {file}", backend.Half, () => RecordAll(model, part, tensors))[output];
    }

    /// <summary>
    /// The cases that store a tensor of that ending. A slow leaf takes those of up to so many latent pixels, and the smallest whatever its size:
    /// each set has sizes of its own, and every leaf computes something of each.
    /// </summary>
    private static List<string> CasesOf(string what, TestTensors tensors, string ending, string latent, Backend backend, int most)
    {
        // Without hardware intrinsics the SIMD leaves are emulated, slower than the portable one.
        var slow = backend.Leaf == LeafKind.Portable || !System.Runtime.Intrinsics.Vector128.IsHardwareAccelerated;
        List<string> cases = [.. tensors.Names.Where(t => t.EndsWith(ending, StringComparison.Ordinal)).Select(t => t[..^ending.Length])];
        var largest = slow ? Math.Max(most, cases.Min(Pixels)) : int.MaxValue;
        foreach (var id in cases.Where(id => Pixels(id) > largest))
        {
            ReferenceData.LeaveOut($"{what} {id}, {backend}", $"more than {largest} pixels take this leaf too long on this machine");
        }

        return [.. cases.Where(id => Pixels(id) <= largest)];

        int Pixels(string id) => tensors.Shape($"{id}{latent}") is var shape ? shape[0] * shape[2] * shape[3] : 0;
    }

    /// <summary>The graphs of a component, the UNet or both halves of the autoencoder, with the stored modules' outputs.</summary>
    private static IEnumerable<Recorded> RecordAll(LoadedModel model, ModelPart part, TestTensors tensors)
    {
        foreach (var recorded in RecordParts(model, part, tensors))
        {
            foreach (var (module, value) in recorded.Graph.Names.Where(n => tensors.Has(n.Key)))
            {
                recorded.Graph.Output(module, value);
            }

            yield return recorded;
        }
    }

    private static IEnumerable<Recorded> RecordParts(LoadedModel model, ModelPart part, TestTensors tensors)
    {
        if (part == ModelPart.UNet)
        {
            var sample = tensors.Shape("input.sample");
            yield return new(
                UNet.Record(model.UNetConfig, sample[0], sample[2], sample[3], tensors.Shape("input.encoder_hidden_states")[1]),
                () => model.OpenWeights(part),
                [Input("sample"), Input("encoder_hidden_states"), ("timestep", [.. tensors.Longs("input.timestep").Select(t => (float)t)], [1])]);
            yield break;
        }

        var (z, image) = (tensors.Shape("input.z"), tensors.Shape("input.image"));
        yield return new(AutoencoderKl.RecordDecoder(model.VaeConfig, z[0], z[2], z[3]), () => model.OpenWeights(part), [Input("z")]);
        yield return new(AutoencoderKl.RecordEncoder(model.VaeConfig, image[0], image[2], image[3]), model.OpenEncoderWeights, [Input("image")]);

        (string, float[], int[]) Input(string key) => (key, tensors.Floats($"input.{key}"), tensors.Shape($"input.{key}"));
    }

    /// <summary>What rounding of stored values alone does to the outputs of graphs.</summary>
    private static Dictionary<string, double> RoundingOf(string what, bool half, Func<IEnumerable<Recorded>> record) => Roundings.GetOrAdd((what, half), _ =>
    {
        var roundings = new Dictionary<string, double>();
        foreach (var (graph, weights, inputs) in record())
        {
            using var source = weights();
            var values = inputs.ToDictionary(i => i.Key, i => Axes.ToChannelsLast(i.Values, i.Shape));
            foreach (var (output, error) in StorageRounding.Measure(graph, values, source, half))
            {
                roundings[output] = error;
            }
        }

        return roundings;
    });

    private static double LimitOf(string module, Backend backend, double usual)
    {
        if (backend.Half)
        {
            return module.StartsWith("encoder.", StringComparison.Ordinal) || module == "quant_conv" ? Limits.Encoder(half: true) : usual;
        }

        return module is "time_proj" or "time_embedding" || module.EndsWith(".time_emb_proj", StringComparison.Ordinal) ? Limits.TimeTensor
            : module is "down_blocks.0.attentions.0.norm" or "down_blocks.0.resnets.0.norm1" ? Limits.NormTensor
            : usual;
    }

    private static void Compare(Comparisons comparisons, string what, float[] actual, TestTensors tensors, string tensor, double limit) =>
        comparisons.Compare(what, actual, Axes.ToChannelsLast(tensors.Floats(tensor), tensors.Shape(tensor)), limit);

    /// <summary>The same, where weights can magnify rounding beyond the usual limit. The rounding is found slowly, and only where an error asks for it.</summary>
    private static void Compare(
        Comparisons comparisons, string what, float[] actual, TestTensors tensors, string tensor, double usual, Backend backend, Func<double> rounding)
    {
        var error = Comparisons.RelativeL2(actual, Axes.ToChannelsLast(tensors.Floats(tensor), tensors.Shape(tensor)));
        comparisons.Report(what, error, error <= usual ? usual : Math.Max(usual, Limits.OfStorageRounding(backend.Half) * rounding()));
    }

    /// <summary>A graph with its weights and stored inputs.</summary>
    private sealed record Recorded(Graph Graph, Func<IWeightSource> Weights, (string Key, float[] Values, int[] Shape)[] Inputs);
}
