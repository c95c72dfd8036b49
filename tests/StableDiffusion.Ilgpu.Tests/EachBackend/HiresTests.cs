using StableDiffusion.Ilgpu.Compilation;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>The second pass in a larger size.</summary>
[Collection(SharedDevice.Name)]
public sealed class HiresTests(DeviceFixture fixture)
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    private static GenerationRequest Request => new()
    {
        Prompt = "a red apple",
        Steps = 6,
        Sampler = Samplers.Euler,
        Hires = new HiresOptions { Scale = 1.5, DenoisingStrength = 0.5, Steps = 4 },
    };

    /// <summary>
    /// Starting from a picture under noise is starting from noise that happens to be that: the same but for the rounding of one fp32
    /// multiplication, which five steps of fp32 arithmetic carry on (the tolerance of latents).
    /// </summary>
    [Fact]
    public void A_run_starts_from_the_latents_under_the_plans_noise()
    {
        var backend = new Backend(BackendProfile.Best, Half: false);
        using var model = LoadedModel.Open(model: null);
        using var engine = new DiffusionEngine<float>(model, fixture.DeviceOf(backend), fixture.Kernels<float>(backend), FusionOptions.All);
        var (channels, size) = (model.VaeConfig.LatentChannels, model.UNetConfig.SampleSize);
        var first = FirstPass(model, engine, Samplers.Euler, steps: 6);
        var latents = engine.Sample(first, Cancellation);
        var hires = HiresPass.Create(Request, model, size, size)!;
        var (decoder, encoder) = (new LatentDecoder<float>(engine, model, Request), new PictureEncoder<float>(engine, model, Request));
        var run = hires.Follow(first, hires.Enlarge(first, latents, decoder, encoder, Cancellation), first.Context, 7);
        Assert.Equal((size * 3 / 2, size * 3 / 2, 4), (run.Height, run.Width, run.Plan.Steps.Count));

        // Half of the noise: the last four of eight steps.
        Assert.Equal(Samplers.Euler.Plan(model.Schedule, 8, Scheduler.Discrete).Steps.Skip(4).Select(s => s.Start), run.Plan.Steps.Select(s => s.Start));
        Assert.Equal(Imaging.LatentResize.Bilinear(latents, size, size, run.Height, run.Width), run.Start);

        var noise = new BatchNoise(NoiseGenerator.Cuda, 7, 2, channels * run.Height * run.Width).Draw();
        float[] mixed = [.. noise.Zip(
            run.Start!, (n, x) => (float)(((run.Plan.Start.Signal * x) + (run.Plan.Start.Noise * n)) / run.Plan.InitialNoiseScale))];
        var comparisons = new Comparisons();
        comparisons.Compare(
            "latents of a second pass", engine.Sample(run, Cancellation),
            engine.Sample(run with { Start = null, Draw = () => mixed }, Cancellation),
            Limits.FinalLatents(half: false));
        comparisons.Verify();
    }

    /// <summary>
    /// A picture enlarged twice by repeating its pixels, made a latent, and made a picture again must be near to what was enlarged. No
    /// published value says how near; the picture moved by one pixel of the first pass must be further off by this many decibels.
    /// </summary>
    [Theory]
    [InlineData(HiresUpscaler.Lanczos)]
    [InlineData(HiresUpscaler.Nearest)]
    public void Enlarging_the_picture_gives_latents_of_the_larger_picture(HiresUpscaler upscaler)
    {
        const double decibels = 2;
        var backend = new Backend(BackendProfile.Best, Half: false);
        using var model = LoadedModel.Open(model: null);
        using var engine = new DiffusionEngine<float>(model, fixture.DeviceOf(backend), fixture.Kernels<float>(backend), FusionOptions.All);
        var size = model.UNetConfig.SampleSize;
        var request = Request with { Hires = new HiresOptions { Upscaler = upscaler } };
        var first = FirstPass(model, engine, Samplers.DpmPlusPlus2M, steps: 8);
        var latents = engine.Sample(first, Cancellation);
        var (decoder, encoder) = (new LatentDecoder<float>(engine, model, request), new PictureEncoder<float>(engine, model, request));
        var larger = HiresPass.Create(request, model, size, size)!.Enlarge(first, latents, decoder, encoder, Cancellation);
        Assert.Equal(4 * latents.Length, larger.Length);

        var comparisons = new Comparisons();
        for (var i = 0; i < 2; i++)
        {
            float[] Decode(float[] all, int side) =>
                [.. decoder.Decode(all.AsSpan(i * all.Length / 2, all.Length / 2), side, side, Cancellation).Select(b => b / 255f)];
            var (small, large, pixels) = (Decode(latents, size), Decode(larger, 2 * size), size * model.VaeConfig.PixelsPerLatent);
            float Wanted(int place, int shift)
            {
                var (row, column) = (place / 3 / (2 * pixels) / 2, ((place / 3 % (2 * pixels) / 2) + shift) % pixels);
                return small[(((row * pixels) + column) * 3) + (place % 3)];
            }

            float[] wanted = [.. Enumerable.Range(0, large.Length).Select(place => Wanted(place, 0))];
            var moved = large.Select((v, place) => Math.Pow(v - Wanted(place, 1), 2)).Average();
            comparisons.ComparePictures($"{upscaler} enlarged picture {i}", large, wanted, decibels - (10 * Math.Log10(moved)));
        }

        comparisons.Verify();
    }

    [Theory]
    [InlineData(HiresUpscaler.Latent, "Latent")]
    [InlineData(HiresUpscaler.LatentNearest, "Latent (nearest)")]
    [InlineData(HiresUpscaler.Lanczos, "Lanczos")]
    [InlineData(HiresUpscaler.Nearest, "Nearest")]
    public void Pictures_are_larger_say_so_and_do_not_depend_on_the_batch(HiresUpscaler upscaler, string name)
    {
        using var pipeline = StableDiffusionPipeline.Load(cancellationToken: Cancellation);
        var request = Request with { Hires = Request.Hires! with { Upscaler = upscaler } };
        var steps = new List<GenerationProgress>();
        var images = pipeline.Generate(request with { BatchCount = 2 }, new Collector(steps), Cancellation);
        Assert.Equal(2, images.Count);
        Assert.All(images, image => Assert.Equal((96, 96, 96 * 96 * 3), (image.Width, image.Height, image.Pixels.Length)));
        Assert.All(
            new[] { ", Size: 64x64, ", ", Denoising strength: 0.5, ", $", Hires upscale: 1.5, Hires steps: 4, Hires upscaler: {name}, " },
            part => Assert.Contains(part, images[0].Parameters, StringComparison.Ordinal));
        var alone = pipeline.Generate(request with { Seed = 43 }, cancellationToken: Cancellation)[0];
        Assert.True(alone.Pixels.Span.SequenceEqual(images[1].Pixels.Span), "the picture of seed 43 depends on its batch");
        Assert.False(alone.Pixels.Span.SequenceEqual(images[0].Pixels.Span));
        var second = pipeline.Generate(request with { BatchCount = 2, BatchSize = 1 }, cancellationToken: Cancellation)[1];
        Assert.True(alone.Pixels.Span.SequenceEqual(second.Pixels.Span), "the picture of seed 43 depends on the batches before its own");

        // Six steps and four, counted through; both pictures together.
        var sampling = steps.Where(s => s.Stage == GenerationStage.Sampling).ToArray();
        Assert.All(sampling, s => Assert.Equal((0, 2, 2, 10), (s.Image, s.BatchSize, s.ImageCount, s.StepCount)));
        Assert.Equal(Enumerable.Range(0, 11), sampling.Select(s => s.Step));
    }

    /// <summary>
    /// Before the last step of a second pass from noise alone, where nothing that the first pass kept is left: what the model sees of the part that the mask keeps is
    /// the picture under a little noise.
    /// </summary>
    [Fact]
    public void A_second_pass_has_the_kept_part_before_it()
    {
        using var pipeline = StableDiffusionPipeline.Load(cancellationToken: Cancellation);
        var drawn = pipeline.Generate(Request with { Hires = null }, cancellationToken: Cancellation)[0];
        var picture = new InputImage(drawn.Width, drawn.Height, drawn.Pixels.Span);
        var request = Request with
        {
            Prompt = "a house",
            Scheduler = Scheduler.Karras,
            InitImage = picture,
            Hires = new HiresOptions { Scale = 1.5, DenoisingStrength = 1, Steps = 6 },
            NoisyPreviewInterval = 1,
            PreviewMethod = PreviewMethod.Autoencoder,
        };
        var larger = Imaging.PictureFit.Fit(picture, 96, 96, ResizeMode.Stretch).Pixels.ToArray();
        double Far(GenerationRequest asked)
        {
            var seen = new List<GenerationProgress>();
            pipeline.Generate(asked, new Collector(seen), Cancellation);
            var last = seen.Last(p => p.NoisyPreviews is not null).NoisyPreviews![0].Pixels.ToArray();
            return Enumerable.Range(0, last.Length).Where(i => i / 3 % 96 < 40).Average(i => Math.Abs(last[i] - larger[i]));
        }

        byte[] mask = [.. Enumerable.Range(0, 64 * 64 * 3).Select(i => (byte)(i / 3 % 64 < 32 ? 0 : 255))];
        var (kept, free) = (Far(request with { Mask = new InputImage(64, 64, mask) }), Far(request));
        Assert.True(3 * kept < free, $"the kept part is {kept:0.0} off, and {free:0.0} without a mask");
    }

    /// <summary>The second pass takes what a prompt has become, whatever it was before, or has numbers of its own.</summary>
    [Theory]
    [InlineData("a [banana:cat:0.5]", "a [banana:cat:3]")]
    [InlineData("a [banana:cat:1.0]", "a [banana:cat:6]")]
    public void A_prompt_that_was_edited_in_the_first_pass_stays_so_in_the_second(string prompt, string same)
    {
        using var pipeline = StableDiffusionPipeline.Load(cancellationToken: Cancellation);
        byte[] Pixels(GenerationRequest request) => pipeline.Generate(request, cancellationToken: Cancellation)[0].Pixels.ToArray();
        var edited = Pixels(Request with { Prompt = prompt });
        Assert.Equal(Pixels(Request with { Prompt = same }), edited);
        Assert.NotEqual(Pixels(Request with { Prompt = "a banana" }), edited);

        // At full strength next to nothing of the first pass is left.
        var anew = Request with { Hires = Request.Hires! with { DenoisingStrength = 1, Upscaler = HiresUpscaler.LatentNearest } };
        var drawn = Pixels(anew with { Prompt = prompt });
        Assert.True(
            3 * Distance(drawn, Pixels(anew with { Prompt = "a cat" })) < Distance(drawn, Pixels(anew with { Prompt = "a banana" })), "the second pass drew a banana");
    }

    [Fact]
    public void Pictures_come_batch_by_batch()
    {
        using var pipeline = StableDiffusionPipeline.Load(cancellationToken: Cancellation);
        using var cancellation = new CancellationTokenSource();
        var steps = new List<GenerationProgress>();
        var request = new GenerationRequest { Prompt = "", Steps = 1, BatchCount = 5, BatchSize = 2 };
        var seeds = new List<long>();
        Assert.Throws<OperationCanceledException>(() =>
        {
            foreach (var image in pipeline.GenerateEach(request, new Collector(steps), cancellation.Token))
            {
                seeds.Add(image.Seed);
                if (seeds.Count == 3)
                {
                    cancellation.Cancel();
                }
            }
        });
        Assert.Equal([42, 43, 44], seeds);
        Assert.Equal(2, steps.Count(s => s.Stage == GenerationStage.Sampling && s.Step == 1));
    }

    [Fact]
    public void A_request_that_cannot_be_used_is_refused_before_the_first_picture_is_asked_for()
    {
        using var pipeline = StableDiffusionPipeline.Load(cancellationToken: Cancellation);
        Assert.Throws<StableDiffusionException>(() => pipeline.GenerateEach(Request with { Steps = 0 }, cancellationToken: Cancellation));
        var hires = new HiresOptions { Steps = 100_000 };
        Assert.Throws<StableDiffusionException>(() => pipeline.GenerateEach(Request with { Hires = hires }, cancellationToken: Cancellation));
    }

    /// <summary>Mean difference of a byte.</summary>
    private static double Distance(byte[] a, byte[] b) => a.Zip(b, (x, y) => (double)Math.Abs(x - y)).Average();

    /// <summary>Collects on the reporting thread, in order.</summary>
    private sealed class Collector(List<GenerationProgress> into) : IProgress<GenerationProgress>
    {
        public void Report(GenerationProgress value) => into.Add(value);
    }

    /// <summary>Two pictures of an apple in the model's own size.</summary>
    private static SamplingRun FirstPass(LoadedModel model, DiffusionEngine<float> engine, Sampler sampler, int steps)
    {
        var size = model.UNetConfig.SampleSize;
        return new SamplingRun
        {
            Pictures = 2,
            Context = new StepContexts(
                engine.Encode([.. model.Tokenize(""), .. model.Tokenize("a red apple")], cancellationToken: Cancellation)),
            Guidance = 5,
            Height = size,
            Width = size,
            Plan = sampler.Plan(model.Schedule, steps, Scheduler.Discrete),
            Draw = new BatchNoise(NoiseGenerator.Cuda, 7, 2, model.VaeConfig.LatentChannels * size * size).Draw,
        };
    }
}
