using StableDiffusion.Ilgpu.Compilation;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>What an onlooker sees between the steps of a plan.</summary>
[Collection(SharedDevice.Name)]
public sealed class PreviewTests(DeviceFixture fixture)
{
    private const int Steps = 6;
    private const int Size = 8;
    private const int Pictures = 2;

    public static TheoryData<string> Models => [.. TinyModels.Names];

    /// <summary>
    /// Euler's step goes along the line from the latent to the denoised one, in proportion to sigma: three values that come from different
    /// places, for models of both kinds. The limit is fp32's for latents of up to about 15 times their noise-free size.
    /// </summary>
    [Theory]
    [MemberData(nameof(Models))]
    public void The_denoised_latent_is_where_eulers_steps_lead(string name)
    {
        using var model = TinyModels.Load(name);
        if (model.IsInpainting)
        {
            ReferenceData.LeaveOut(name, "its UNet takes a picture beside the latent");
            return;
        }

        using var engine = Engine(model);
        var plan = Samplers.Euler.Plan(model.Schedule, Steps, Scheduler.Karras);
        foreach (var guidance in new double?[] { null, 5 })
        {
            var (noisy, denoised) = (new float[Steps + 1][], new float[Steps + 1][]);
            var watch = new StepWatch(Steps, 1, 1, (_, done, clean, seen) => (denoised[done], noisy[done]) = (clean!, seen!));
            var final = engine.Sample(Run(model, plan, guidance) with { Watch = watch }, TestContext.Current.CancellationToken);
            Assert.Null(denoised[0]);
            Assert.Null(noisy[Steps]);
            double Sigma(int i) => Math.Sqrt((1 / (plan.Steps[i].InputScale * plan.Steps[i].InputScale)) - 1);
            for (var i = 0; i < Steps - 1; i++)
            {
                var (from, to) = (Sigma(i), Sigma(i + 1));
                float[] expected = [.. noisy[i].Zip(denoised[i + 1], (x, clean) =>
                    (float)((clean + (to / from * ((x / plan.Steps[i].InputScale) - clean))) * plan.Steps[i + 1].InputScale))];
                ReferenceData.Report($"{name} latent after step {i + 1} from its parts, relative L2", Comparisons.RelativeL2(noisy[i + 1], expected), 2e-5);
            }

            // Looking changes nothing.
            Assert.Equal(engine.Sample(Run(model, plan, guidance), TestContext.Current.CancellationToken), final);
        }
    }

    [Fact]
    public void Previews_come_at_their_steps_and_change_nothing()
    {
        using var pipeline = StableDiffusionPipeline.Load(cancellationToken: TestContext.Current.CancellationToken);

        // Few steps of much guidance make PLMS swing from one picture to another until the end.
        var request = new GenerationRequest { Prompt = "a red apple", Steps = 16, GuidanceScale = 3, Width = 64, Height = 72 };
        var plain = pipeline.Generate(request, null, TestContext.Current.CancellationToken)[0];
        Sampler[] samplers =
        [
            Samplers.Euler, Samplers.EulerAncestral, Samplers.Heun, Samplers.Dpm2Ancestral, Samplers.DpmPlusPlus2M, Samplers.DpmPlusPlusSde,
            Samplers.UniPc, Samplers.Ddim, Samplers.Pndm,
        ];
        foreach (var sampler in samplers)
        {
            var without = sampler == request.Sampler ? plain
                : pipeline.Generate(request with { Sampler = sampler }, null, TestContext.Current.CancellationToken)[0];
            var seen = new Collector();
            var watched = pipeline.Generate(
                request with { Sampler = sampler, PreviewInterval = 3, NoisyPreviewInterval = 5, PreviewMethod = PreviewMethod.Autoencoder },
                seen, TestContext.Current.CancellationToken)[0];
            Assert.Equal(without.Pixels.ToArray(), watched.Pixels.ToArray());
            var steps = seen.Reports.Max(r => r.StepCount);
            Assert.Equal(Enumerable.Range(1, steps - 1).Where(s => s % 3 == 0), seen.Reports.Where(r => r.Previews is not null).Select(r => r.Step));
            Assert.Equal(Enumerable.Range(0, steps).Where(s => s % 5 == 0), seen.Reports.Where(r => r.NoisyPreviews is not null).Select(r => r.Step));

            // The last preview is close to the picture; the noise that it starts from is not.
            var last = seen.Reports.Last(r => r.Previews is not null).Previews!.Single();
            Assert.Equal((64, 72, ""), (last.Width, last.Height, last.Parameters));
            var (near, far) = (Psnr(last, watched), Psnr(seen.Reports.First(r => r.NoisyPreviews is not null).NoisyPreviews!.Single(), watched));
            TestContext.Current.TestOutputHelper?.WriteLine($"{sampler}: last preview {near:0.0} dB, noise {far:0.0} dB");
            Assert.True(near > 20 && near > far + 6, $"{sampler}: last preview {near:0.0} dB, noise {far:0.0} dB");
        }
    }

    /// <summary>A batch is seen together, each picture as if alone; a second pass goes on counting.</summary>
    [Fact]
    public void Batches_and_second_passes_are_watched()
    {
        using var pipeline = StableDiffusionPipeline.Load(cancellationToken: TestContext.Current.CancellationToken);
        var request = new GenerationRequest
        {
            Prompt = "a [red:green:0.5] apple",
            Steps = 6,
            PreviewInterval = 2,
            NoisyPreviewInterval = 3,
            PreviewMethod = PreviewMethod.Autoencoder,
            Hires = new() { Scale = 1.5, DenoisingStrength = 0.5, Steps = 3 },
        };
        var (together, alone) = (new Collector(), new Collector());
        var pictures = pipeline.Generate(request with { BatchCount = 2 }, together, TestContext.Current.CancellationToken);
        var second = pipeline.Generate(request with { Seed = request.Seed + 1 }, alone, TestContext.Current.CancellationToken)[0];
        Assert.Equal(second.Pixels.ToArray(), pictures[1].Pixels.ToArray());
        Assert.Equal([(2, 64), (4, 64), (6, 64), (8, 96)], Sizes(together, r => r.Previews));
        Assert.Equal([(0, 64), (3, 64), (6, 96)], Sizes(together, r => r.NoisyPreviews));
        foreach (var (both, one) in together.Reports.Zip(alone.Reports).Where(r => r.First.Previews is not null))
        {
            Assert.Equal(2, both.Previews!.Count);
            Assert.Equal(one.Previews!.Single().Pixels.ToArray(), both.Previews[1].Pixels.ToArray());
            Assert.Equal(one.Previews![0].Seed, both.Previews[1].Seed);
        }

        static IEnumerable<(int, int)> Sizes(Collector seen, Func<GenerationProgress, IReadOnlyList<GeneratedImage>?> which) =>
            seen.Reports.Where(r => which(r) is not null).Select(r => (r.Step, which(r)![0].Width));
    }

    [Fact]
    public void A_preview_by_TAESD_needs_its_file()
    {
        using var pipeline = StableDiffusionPipeline.Load(cancellationToken: TestContext.Current.CancellationToken);
        var request = new GenerationRequest { Prompt = "", Steps = 2, PreviewInterval = 1, PreviewMethod = PreviewMethod.TinyAutoencoder };
        var e = Assert.Throws<StableDiffusionException>(() => pipeline.Generate(request, new Collector(), TestContext.Current.CancellationToken));
        Assert.Contains("TAESD", e.Message, StringComparison.Ordinal);
    }

    private DiffusionEngine<float> Engine(LoadedModel model) =>
        new(model, fixture.DeviceOf(new Backend(BackendProfile.Best, Half: false)), fixture.Kernels<float>(new Backend(BackendProfile.Best, Half: false)), FusionOptions.All);

    private static SamplingRun Run(LoadedModel model, Sampling.SamplingPlan plan, double? guidance)
    {
        var random = new Random(16);
        var (latent, context) = (model.VaeConfig.LatentChannels * Size * Size, model.TextConfig.Tokens * model.TextConfig.Hidden);
        return new SamplingRun
        {
            Context = new StepContexts(Normal(random, (guidance is null ? 1 : 2) * context)),
            Pictures = Pictures,
            Guidance = guidance,
            Height = Size,
            Width = Size,
            Plan = plan,
            Draw = () => Normal(random, Pictures * latent),
        };
    }

    private static float[] Normal(Random random, int count) => [.. Enumerable.Range(0, count).Select(_ =>
        (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble())))];

    private static double Psnr(GeneratedImage a, GeneratedImage b)
    {
        var squares = a.Pixels.ToArray().Zip(b.Pixels.ToArray(), (x, y) => (double)(x - y) * (x - y)).Average();
        return 10 * Math.Log10(255 * 255 / Math.Max(squares, 1e-9));
    }

    private sealed class Collector : IProgress<GenerationProgress>
    {
        public List<GenerationProgress> Reports { get; } = [];

        public void Report(GenerationProgress value) => Reports.Add(value);
    }
}
