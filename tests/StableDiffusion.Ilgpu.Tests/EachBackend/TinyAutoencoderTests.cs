using System.Globalization;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Models;
using StableDiffusion.Ilgpu.Weights;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>TAESD against <see cref="NaiveTinyAutoencoder"/>, with made-up weights, under all names that its files have.</summary>
[Collection(SharedDevice.Name)]
public sealed class TinyAutoencoderTests(DeviceFixture fixture) : IDisposable
{
    private const int Latent = 4;
    private const int Channels = 12;

    private static readonly Dictionary<string, (long[] Shape, float[] Values)> Made = Make();

    private readonly TemporaryFolder folder = new();

    public static TheoryData<string> Backends => [.. Backend.Names];

    [Theory]
    [MemberData(nameof(Backends))]
    public void Decoder(string backend) => Check(
        backend, "z", "out", Latent, 3, 4, () => TinyAutoencoder.RecordDecoder(new(Latent, Channels), 2, 3, 4),
        (naive, z) => naive.Decode(z));

    [Theory]
    [MemberData(nameof(Backends))]
    public void Encoder(string backend) => Check(
        backend, "image", "z", 3, 24, 16, () => TinyAutoencoder.RecordEncoder(new(Latent, Channels), 2, 24, 16),
        (naive, image) => naive.Encode(image));

    public static TheoryData<string> Namings => ["taesd_", "original", "diffusers", "original .pth"];

    [Theory]
    [MemberData(nameof(Namings))]
    public void Files_of_every_naming_are_the_same_decoder(string naming)
    {
        using var expected = TinyAutoencoderFile.Open(Write("taesd_", "both"));
        using var opened = TinyAutoencoderPart.Open(Write(naming, naming), Replaced).OpenWeights();
        foreach (var weight in TinyAutoencoder.RecordDecoder(new(Latent, Channels), 1, 1, 1).Weights)
        {
            var (a, b) = (new float[expected.Tensors[weight.Name].Count], new float[opened.Tensors[weight.Name].Count]);
            expected.Read(weight.Name, a);
            opened.Read(weight.Name, b);
            Assert.Equal(a, b);
        }
    }

    [Fact]
    public void Other_files_are_refused()
    {
        var encoder = new TensorFiles();
        foreach (var (name, (shape, values)) in Made.Where(t => t.Key.StartsWith("taesd_encoder.", StringComparison.Ordinal)))
        {
            encoder.Add(name["taesd_encoder.".Length..], shape, values);
        }

        var path = encoder.Write(folder["taesd_encoder.safetensors"]);
        NoDevice.WeightsTestFiles.Refused(() => TinyAutoencoderPart.Open(path, Replaced), path, "no TAESD decoder");
        path = Write("taesd_", "good");
        NoDevice.WeightsTestFiles.Refused(
            () => TinyAutoencoderPart.Open(path, Replaced with { LatentChannels = 16 }),
            path, "4 channels", "16 channels");
        NoDevice.WeightsTestFiles.Refused(
            () => TinyAutoencoderPart.Open(path, Replaced with { Channels = [1, 2] }),
            path, "8 pixels", "2 pixels");
        path = Write("taesd_", "short", "taesd_decoder.7.weight");
        NoDevice.WeightsTestFiles.Refused(() => TinyAutoencoderPart.Open(path, Replaced), path, "decoder.layers.6.weight is missing");
        NoDevice.WeightsTestFiles.Refused(() => TinyAutoencoderPart.Open("/no/such.safetensors", Replaced), "/no/such.safetensors");
    }

    [Fact]
    public void A_model_decodes_with_it_without_the_scaling_factor()
    {
        var name = TinyModels.Names.First();
        using var plain = TinyModels.Load(name);
        using var model = LoadedModel.Open(new ModelOptions { Model = ReferenceData.PathOf(name), Taesd = Write("taesd_", "both") });
        Assert.Equal((plain.VaeConfig.ScalingFactor, 1), (plain.LatentScale, model.LatentScale));
        var request = new GenerationRequest { Prompt = "cat" };
        Assert.Contains(", VAE Decoder: TAESD, ", SettingsText.Of(request, model, 8, 8, 1), StringComparison.Ordinal);
        Assert.DoesNotContain("TAESD", SettingsText.Of(request, plain, 8, 8, 1), StringComparison.Ordinal);
        var backend = new Backend(BackendProfile.Best, Half: false);
        using var engine = new DiffusionEngine<float>(model, fixture.DeviceOf(backend), fixture.Kernels<float>(backend), FusionOptions.All);
        var z = Values(5, Latent * 6, 2);
        var expected = Naive.Decode(new(Latent, 2, 3, [.. z.Select(v => (double)v)]));
        var actual = engine.Decode(z, 2, 3, cancellationToken: TestContext.Current.CancellationToken);
        ReferenceData.Report("TAESD of a model, relative L2", Comparisons.RelativeL2(actual, ChannelsLast(expected)), Limit(half: false));
    }

    [Fact]
    public void It_may_decode_previews_alone()
    {
        var request = new GenerationRequest { Prompt = "cat", Steps = 3 };
        using var plain = StableDiffusionPipeline.Load(cancellationToken: TestContext.Current.CancellationToken);
        var expected = plain.Generate(request, null, TestContext.Current.CancellationToken)[0].Pixels.ToArray();
        using var pipeline = StableDiffusionPipeline.Load(
            new ModelOptions { PreviewTaesd = Write("taesd_", "both") }, null, TestContext.Current.CancellationToken);
        var (own, small) = (Preview(PreviewMethod.Autoencoder), Preview(PreviewMethod.TinyAutoencoder));
        Assert.Equal((own.Width, own.Height), (small.Width, small.Height));
        Assert.NotEqual(own.Pixels.ToArray(), small.Pixels.ToArray());

        GeneratedImage Preview(PreviewMethod method)
        {
            var seen = new Newest();
            var image = pipeline.Generate(
                request with { PreviewInterval = 2, PreviewMethod = method }, seen, TestContext.Current.CancellationToken)[0];
            Assert.Equal(expected, image.Pixels.ToArray());
            return seen.Preview!;
        }
    }

    [Fact]
    public void A_decoder_alone_is_refused_before_anything_is_drawn_that_has_to_be_encoded()
    {
        var path = Write("original", "decoder");
        using var pipeline = StableDiffusionPipeline.Load(new ModelOptions { Taesd = path }, null, TestContext.Current.CancellationToken);
        var request = new GenerationRequest { Prompt = "cat", Steps = 1, Hires = new HiresOptions { Scale = 1.5 } };
        Assert.Single(pipeline.Generate(request, null, TestContext.Current.CancellationToken));

        // It throws when it is called, not when the first picture is asked for.
        NoDevice.WeightsTestFiles.Refused(
            () => pipeline.GenerateEach(request with { Hires = request.Hires with { Upscaler = HiresUpscaler.Lanczos } }, null, TestContext.Current.CancellationToken),
            path, "no encoder");
        NoDevice.WeightsTestFiles.Refused(
            () => pipeline.Generate(request with { Hires = null, Strength = 1, InitImage = new InputImage(64, 64, new byte[64 * 64 * 3]) }, null, TestContext.Current.CancellationToken),
            path, "no encoder");
    }

    public void Dispose() => folder.Dispose();

    private sealed class Newest : IProgress<GenerationProgress>
    {
        public GeneratedImage? Preview { get; private set; }

        public void Report(GenerationProgress value) => Preview = value.Previews?[0] ?? Preview;
    }

    private static AutoencoderKlConfig Replaced => new(3, 3, [8, 8, 8, 8], 1, Latent, 4, 0.18215);

    private static NaiveTinyAutoencoder Naive => new(name => Made[name].Values);

    /// <summary>As for the other decoder, whose depth is the same: about 40 convolutions, each with its rounding.</summary>
    private static double Limit(bool half) => Limits.Decoder(half);

    private void Check(
        string backendName, string input, string output, int channels, int h, int w, Func<Graph> record,
        Func<NaiveTinyAutoencoder, NaiveTinyAutoencoder.Picture, NaiveTinyAutoencoder.Picture> compute)
    {
        var backend = Backend.Find(backendName);
        var comparisons = new Comparisons();
        var values = Values(2, 2 * channels * h * w, input == "z" ? 4 : 1);
        float[] expected =
        [
            .. values.Chunk(channels * h * w)
                .SelectMany(item => ChannelsLast(compute(Naive, new(channels, h, w, [.. item.Select(v => (double)v)])))),
        ];
        foreach (var (fusion, options) in new[] { ("unfused", FusionOptions.None), ("fused", FusionOptions.All) })
        {
            var actual = backend.Half ? Run<ushort>() : Run<float>();
            comparisons.Compare($"TAESD to {output}, {backend}, {fusion}", actual, expected, Limit(backend.Half));

            float[] Run<T>() where T : unmanaged
            {
                using var run = new GraphRun<T>(fixture, backend, record(), options, TinyAutoencoderFile.Open(Write("taesd_", "both")));
                run.Run((input, values, [2, channels, h, w]));
                return run.Read(output);
            }
        }

        comparisons.Verify();
    }

    private static float[] ChannelsLast(NaiveTinyAutoencoder.Picture picture) =>
        Axes.ToChannelsLast([.. picture.Values.Select(v => (float)v)], [1, picture.C, picture.H, picture.W]);

    private static float[] Values(int seed, int count, double size)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => (float)(size * ((2 * random.NextDouble()) - 1)))];
    }

    /// <summary>Weights of both halves under the names of files that hold both, from the architecture's list of layers.</summary>
    private static Dictionary<string, (long[] Shape, float[] Values)> Make()
    {
        var made = new Dictionary<string, (long[] Shape, float[] Values)>();
        AddHalf("decoder", 1, Latent, [7, 12, 17], 19, 3);
        AddHalf("encoder", 0, 3, [2, 6, 10], 14, Latent);
        return made;

        void AddHalf(string half, int first, int from, int[] resizing, int last, int to)
        {
            // Layer 2 of the decoder is an activation, and an enlargement stands before each of its resizing layers.
            int[] none = half == "decoder" ? [2, .. resizing.Select(l => l - 1)] : [];
            for (var layer = first; layer <= last; layer++)
            {
                var name = $"taesd_{half}.{layer}";
                if (layer == first || layer == last)
                {
                    Add(name, layer == first ? from : Channels, layer == first ? Channels : to, bias: true);
                }
                else if (resizing.Contains(layer))
                {
                    Add(name, Channels, Channels, bias: false);
                }
                else if (!none.Contains(layer))
                {
                    foreach (var part in new[] { 0, 2, 4 })
                    {
                        Add($"{name}.conv.{part}", Channels, Channels, bias: true);
                    }
                }
            }
        }

        void Add(string name, int from, int to, bool bias)
        {
            // Rounded to fp16, so that both kinds of storage compute with the same weights.
            var weight = Values(made.Count, to * from * 9, Math.Sqrt(4.0 / (from * 9)));
            made.Add($"{name}.weight", ([to, from, 3, 3], [.. weight.Select(v => (float)(Half)v)]));
            if (bias)
            {
                made.Add($"{name}.bias", ([to], Values(made.Count, to, 0.1)));
            }
        }
    }

    private string Write(string naming, string file, string? except = null)
    {
        var tensors = new TensorFiles();
        foreach (var (name, (shape, values)) in Made.Where(t => t.Key != except))
        {
            var parts = name.Split('.', 3);
            var layer = int.Parse(parts[1], CultureInfo.InvariantCulture);
            if (naming == "taesd_")
            {
                tensors.Add(name, shape, values);
            }
            else if (naming == "diffusers")
            {
                tensors.Add(parts[0] == "taesd_decoder" ? $"decoder.layers.{layer - 1}.{parts[2]}" : $"encoder.layers.{layer}.{parts[2]}",
                    shape, values);
            }
            else if (parts[0] == "taesd_decoder")
            {
                tensors.Add($"{layer}.{parts[2]}", shape, values);
            }
        }

        return naming.EndsWith(".pth", StringComparison.Ordinal)
            ? tensors.WriteTorch(folder[$"{file}.pth"])
            : tensors.Write(folder[$"{file}.safetensors"]);
    }

}
