using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>Neither a batch nor the number of threads is part of a picture: the same seed gives the same bits.</summary>
[Collection(SharedDevice.Name)]
public sealed class BatchTests(DeviceFixture fixture)
{
    private const int Pictures = 3;

    /// <summary>With noise in every step, with a history, and with latents that are kept for later steps.</summary>
    private static readonly Sampler[] Walks = [Samplers.EulerAncestral, Samplers.DpmPlusPlus2M, Samplers.Pndm];

    /// <summary>The other ones also take a picture and a mask.</summary>
    internal static IEnumerable<string> TextToImage => TinyModels.Names.Where(name =>
    {
        using var model = TinyModels.Load(name);
        return !model.IsInpainting;
    });

    public static MatrixTheoryData<string, string> Cases => new(TextToImage, Backend.Names);

    public static TheoryData<string> HalfBackends => [.. Backend.All.Where(b => b.Half).Select(b => b.ToString())];

    [Theory]
    [MemberData(nameof(Cases))]
    public void A_batch_gives_each_seed_the_latent_that_it_has_alone(string name, string backend)
    {
        if (Backend.Find(backend).Half)
        {
            Check<ushort>(name, Backend.Find(backend));
        }
        else
        {
            Check<float>(name, Backend.Find(backend));
        }
    }

    /// <summary>Long prompts have keys and values that fill more memory than small pictures do.</summary>
    [Fact]
    public void What_a_batch_is_planned_with_is_what_it_takes()
    {
        using var model = TinyModels.Load(TinyModels.Names.First());
        foreach (var tokens in new[] { model.TextConfig.Tokens, 6 * model.TextConfig.Tokens })
        {
            var backend = new Backend(BackendProfile.Best, Half: true);
            using var engine = new DiffusionEngine<ushort>(model, fixture.DeviceOf(backend), fixture.Kernels<ushort>(backend), FusionOptions.All);
            var graph = engine.UNet(4, 8, 8, circular: true, tokens, TestContext.Current.CancellationToken);
            Assert.Equal(graph.ArenaBytes, engine.MeasureUNet(4, 8, 8, circular: true, tokens));
            Assert.Equal(tokens == model.TextConfig.Tokens, graph.ArenaBytes == engine.MeasureUNet(4, 8, 8, circular: true));
        }
    }

    /// <summary>
    /// The whole pipeline alone and in batches, and where a number of cores can be chosen on 1, 2 and 3 of them: every byte of the pictures.
    /// </summary>
    [Theory]
    [MemberData(nameof(HalfBackends))]
    public void Pictures_are_the_same_bytes_in_any_batch_and_with_any_number_of_threads(string backend)
    {
        (int Cores, int Batch)[] runs = [(1, 1), (2, Pictures), (3, 2)];
        var pictures = runs.Select(run => Draw(Backend.Find(backend), run.Cores, run.Batch)).ToArray();
        Assert.All(pictures, p => Assert.Equal(Pictures, p.Length));
        Assert.Equal(Pictures, pictures[0].Select(Convert.ToBase64String).Distinct().Count());
        for (var run = 1; run < runs.Length; run++)
        {
            for (var i = 0; i < Pictures; i++)
            {
                Assert.True(pictures[run][i].AsSpan().SequenceEqual(pictures[0][i]), $"{runs[run]}: picture {i} differs from {runs[0]}");
            }
        }
    }

    [Fact]
    public void The_same_graph_is_compiled_to_the_same_kernels()
    {
        using var model = LoadedModel.Open(model: null);
        var backend = new Backend(BackendProfile.Best, Half: true);
        var plans = Enumerable.Range(0, 2).Select(_ =>
        {
            using var engine = new DiffusionEngine<ushort>(model, fixture.DeviceOf(backend), fixture.Kernels<ushort>(backend), FusionOptions.All);
            return engine.UNet(2, 8, 8).Programs.Concat(engine.Decoder(8, 8).Programs).SelectMany(p => p.Rows(sizeof(ushort))).ToArray();
        }).ToArray();
        Assert.NotEmpty(plans[0]);
        Assert.Equal(plans[0], plans[1]);
    }

    private static byte[][] Draw(Backend backend, int cores, int batchSize)
    {
        using var device = backend.Device.Kind == DeviceKind.Cpu ? DeviceSession.OpenCpu(cores) : BackendProfile.Open(backend.Device);
        using var model = LoadedModel.Open(model: null);
        using var engine = new DiffusionEngine<ushort>(model, device, DeviceFixture.Compile<ushort>(device, backend), FusionOptions.All);
        const int Size = 4;
        var context = engine.Encode([.. model.Tokenize(""), .. model.Tokenize("a penguin")]);
        var values = model.VaeConfig.LatentChannels * Size * Size;
        return [.. BatchPlan.Split(Pictures, batchSize).SelectMany(batch =>
        {
            var latents = engine.Sample(Run(model, context, Samplers.EulerAncestral, 4, Size, Size, 7 + batch.First, batch.Count));
            return Enumerable.Range(0, batch.Count)
                .Select(i => engine.DecodeToBytes(latents.AsSpan(i * values, values), Size, Size)).ToArray();
        })];
    }

    private void Check<T>(string name, Backend backend) where T : unmanaged
    {
        // Few pixels, and an odd number, so that a tile's rows belong to several pictures; and enough for Winograd's convolutions.
        using var model = TinyModels.Load(name);
        using var engine = new DiffusionEngine<T>(model, fixture.DeviceOf(backend), fixture.Kernels<T>(backend), FusionOptions.All);
        Check(model, engine, 6, 5, true, Walks, 3);
        Check(model, engine, 6, 5, false, [Samplers.EulerAncestral], 3);
        Check(model, engine, 16, 17, true, [Samplers.EulerAncestral], 1);
    }

    private static void Check<T>(
        LoadedModel model, DiffusionEngine<T> engine, int height, int width, bool guided, Sampler[] samplers, int steps)
        where T : unmanaged
    {
        var values = model.VaeConfig.LatentChannels * height * width;
        string[] prompts = guided ? ["", "a red apple"] : ["a red apple"];
        var context = engine.Encode(prompts.SelectMany(model.Tokenize).ToArray());
        foreach (var sampler in samplers)
        {
            float[] Sample(long seed, int pictures) =>
                engine.Sample(Run(model, context, sampler, steps, height, width, seed, pictures) with { Guidance = guided ? 7 : null });
            var batch = Sample(42, Pictures);
            for (var i = 0; i < Pictures; i++)
            {
                var alone = Sample(42 + i, 1);
                Assert.Equal(values, alone.Length);
                Assert.True(
                    batch.AsSpan(i * values, values).SequenceEqual(alone),
                    $"{sampler}, {width}x{height}, guided {guided}: picture {i} of the batch differs from the one of its seed alone");
            }
        }
    }

    private static SamplingRun Run(
        LoadedModel model, float[] context, Sampler sampler, int steps, int height, int width, long seed, int pictures) => new()
        {
            Pictures = pictures,
            Context = new StepContexts(context),
            Guidance = 7,
            Height = height,
            Width = width,
            Plan = sampler.Plan(model.Schedule, steps, Scheduler.Discrete),
            Draw = new BatchNoise(NoiseGenerator.Cuda, seed, pictures, model.VaeConfig.LatentChannels * height * width).Draw,
        };
}
