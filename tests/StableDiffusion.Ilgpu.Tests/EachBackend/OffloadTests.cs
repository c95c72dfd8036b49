using StableDiffusion.Ilgpu.Cli;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>Models that take turns on the device: the same pictures in less memory.</summary>
[Collection(SharedDevice.Name)]
public sealed class OffloadTests
{
    private const int Size = 4;

    /// <summary>A device that users choose, with the kernels that they get.</summary>
    public static TheoryData<string> HalfBackends => [.. Backend.BestNames.Where(name => Backend.Find(name).Half)];

    public static TheoryData<string> Backends => [.. Backend.BestNames];

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>Everything that needs a model again which had to leave, one after the other in one pipeline.</summary>
    [Theory]
    [MemberData(nameof(HalfBackends))]
    public void Pictures_are_the_same_bytes(string backend)
    {
        var device = Backend.Find(backend).Device;
        using var plain = StableDiffusionPipeline.Load(new ModelOptions(), device, Cancellation);
        using var offload = StableDiffusionPipeline.Load(new ModelOptions { Offload = true }, device, Cancellation);
        var request = new GenerationRequest { Prompt = "a [red:green:0.5] apple", Steps = 3, Width = 64, Height = 64 };
        var first = plain.Generate(request, null, Cancellation)[0];
        Assert.Equal(first.Pixels.ToArray(), offload.Generate(request, null, Cancellation)[0].Pixels.ToArray());
        TestContext.Current.TestOutputHelper?.WriteLine(
            $"{device}: at most {plain.PeakDeviceBytes} bytes side by side, {offload.PeakDeviceBytes} in turns");
        Assert.True(offload.PeakDeviceBytes < plain.PeakDeviceBytes, $"{offload.PeakDeviceBytes} bytes in turns, {plain.PeakDeviceBytes} side by side");

        var picture = new InputImage(first.Width, first.Height, first.Pixels.Span);
        GenerationRequest[] others =
        [
            request with { BatchCount = 3, BatchSize = 2 },
            request with { InitImage = picture, Mask = picture },
            request with { Hires = new HiresOptions { Upscaler = HiresUpscaler.Lanczos, Scale = 1.5 } },
            request with { PreviewInterval = 1, NoisyPreviewInterval = 1, PreviewMethod = PreviewMethod.Autoencoder },
            request with { VaeTiling = true, VaeTileWidth = 4, VaeTileHeight = 4, ClipSkip = 2 },
        ];
        foreach (var other in others)
        {
            var (seen, wanted) = (new Previews(), new Previews());
            var expected = plain.Generate(other, wanted, Cancellation);
            var actual = offload.Generate(other, seen, Cancellation);
            Assert.Equal(expected.Select(Bytes), actual.Select(Bytes));
            Assert.Equal(wanted.Pictures, seen.Pictures);
            Assert.Equal(other.PreviewInterval > 0, seen.Pictures.Count > 0);
        }
    }

    [Theory]
    [MemberData(nameof(Backends))]
    public void One_model_is_on_the_device_at_a_time(string backend)
    {
        if (Backend.Find(backend).Half)
        {
            CheckTurns<ushort>(Backend.Find(backend));
        }
        else
        {
            CheckTurns<float>(Backend.Find(backend));
        }
    }

    /// <summary>Weights that were read in part must not be taken for whole ones, nor take memory.</summary>
    [Fact]
    public void A_turn_that_is_cancelled_leaves_nothing_behind()
    {
        var backend = new Backend(BackendProfile.Best, Half: true);
        using var device = DeviceSession.OpenCpu(2);
        using var model = LoadedModel.Open(model: null);
        using var engine = new DiffusionEngine<ushort>(model, device, DeviceFixture.Compile<ushort>(device, backend), FusionOptions.All, offload: true);
        int[] ids = [.. model.Tokenize("a red apple"), .. model.Tokenize("")];
        var expected = engine.Encode(ids, cancellationToken: Cancellation);
        using var stopped = new CancellationTokenSource();
        stopped.Cancel();
        Assert.Throws<OperationCanceledException>(() => engine.UNet(2, Size, Size, cancellationToken: stopped.Token));
        Assert.Equal(0, device.LiveBuffers);
        Assert.Equal(expected, engine.Encode(ids, cancellationToken: Cancellation));
    }

    /// <summary>What is advised is not in use yet.</summary>
    [Fact]
    public void Out_of_memory_names_the_options_that_help()
    {
        var request = new GenerationRequest { Prompt = "" };
        Assert.Equal("less is needed with --offload, --vae-tiling or in a smaller size", MemoryAdvice.For(request, offload: false));
        Assert.Equal("less is needed with --vae-tiling or in a smaller size", MemoryAdvice.For(request, offload: true));
        Assert.Equal("less is needed in a smaller size", MemoryAdvice.For(request with { VaeTiling = true }, offload: true));
        Assert.Equal(
            "less is needed with --batch-size 1 or in a smaller size or without --hires",
            MemoryAdvice.For(request with { VaeTiling = true, BatchCount = 2, Hires = new() }, offload: true));
        Assert.Equal("less is needed in a smaller size", MemoryAdvice.For(request with { VaeTiling = true, BatchCount = 2, BatchSize = 1 }, offload: true));
    }

    private static void CheckTurns<T>(Backend backend) where T : unmanaged
    {
        using var model = LoadedModel.Open(model: null);
        var (side, together) = Draw<T>(backend, model, offload: false);
        var (turns, alone) = Draw<T>(backend, model, offload: true);
        Assert.Equal(side, turns);
        TestContext.Current.TestOutputHelper?.WriteLine($"{backend}: at most {together} bytes side by side, {alone} in turns");
        Assert.True(alone < together, $"{alone} bytes in turns, {together} side by side");
    }

    /// <summary>Two pictures, the first one decoded twice, and the most bytes that were allocated on a device of its own.</summary>
    private static (float[] Pictures, long PeakBytes) Draw<T>(Backend backend, LoadedModel model, bool offload) where T : unmanaged
    {
        using var device = backend.Device.Kind == DeviceKind.Cpu ? DeviceSession.OpenCpu(2) : BackendProfile.Open(backend.Device);
        List<float> pictures = [];
        using (var engine = new DiffusionEngine<T>(model, device, DeviceFixture.Compile<T>(device, backend), FusionOptions.All, offload))
        {
            engine.Prepare(Size, Cancellation);
            foreach (var prompt in new[] { "a red apple", "a green apple" })
            {
                var context = engine.Encode([.. model.Tokenize(""), .. model.Tokenize(prompt)], cancellationToken: Cancellation);
                var latent = engine.Sample(
                    new SamplingRun
                    {
                        Context = new StepContexts(context),
                        Guidance = 3,
                        Height = Size,
                        Width = Size,
                        Plan = Samplers.Euler.Plan(model.Schedule, 2, Scheduler.Discrete),
                        Draw = new BatchNoise(NoiseGenerator.Cuda, 42, 1, model.VaeConfig.LatentChannels * Size * Size).Draw,
                        Blend = new MaskedLatent(
                            new float[model.VaeConfig.LatentChannels * Size * Size], [.. Enumerable.Range(0, Size * Size).Select(i => i < Size ? 0f : 1)]),
                    },
                    Cancellation);
                pictures.AddRange(engine.Decode(latent, Size, Size, cancellationToken: Cancellation));
                pictures.AddRange(engine.Decode(latent, Size, Size, cancellationToken: Cancellation));
            }
        }

        Assert.Equal(0, device.LiveBuffers);
        return ([.. pictures], device.PeakBytes);
    }

    private static string Bytes(GeneratedImage image) => Convert.ToBase64String(image.Pixels.Span);

    private sealed class Previews : IProgress<GenerationProgress>
    {
        public List<string> Pictures { get; } = [];

        public void Report(GenerationProgress value) =>
            Pictures.AddRange((value.Previews ?? []).Concat(value.NoisyPreviews ?? []).Select(Bytes));
    }
}
