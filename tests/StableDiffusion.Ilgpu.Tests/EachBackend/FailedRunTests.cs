using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>What fails leaves nothing on the device: a program that goes on drawing would lose that memory each time.</summary>
public sealed class FailedRunTests : IDisposable
{
    /// <summary>Of the latents, in pixels.</summary>
    private const int Size = 16;

    /// <summary>Bytes of the smallest buffer that a run has by itself, its mask.</summary>
    private const int Step = Size * Size * sizeof(float);

    private readonly LoadedModel model = LoadedModel.Open(model: null);
    private readonly DeviceSession device = DeviceSession.OpenCpu(2);
    private readonly DiffusionEngine<ushort> engine;

    public FailedRunTests() => engine = Open(device);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public void Whichever_buffer_of_a_run_does_not_fit_the_others_are_freed()
    {
        var context = engine.Encode([.. model.Tokenize(""), .. model.Tokenize("a red apple")], cancellationToken: Cancellation);
        engine.UNet(2, Size, Size, cancellationToken: Cancellation);
        engine.Recover(new InvalidOperationException());
        var weights = device.LiveBuffers;
        var latent = Enumerable.Range(0, model.VaeConfig.LatentChannels * Size * Size).Select(i => i % 7 / 7f).ToArray();
        var run = new SamplingRun
        {
            Context = new StepContexts(context),
            Guidance = 3,
            Height = Size,
            Width = Size,
            Plan = Samplers.Euler.Plan(model.Schedule, 2, Scheduler.Discrete),
            Draw = () => latent,
            Blend = new MaskedLatent(latent, new float[Size * Size]),
        };
        var expected = engine.Sample(run, Cancellation);
        var most = device.PeakBytes;

        // Down to less than all of the run's own buffers take: latents of the state, six more that it keeps, two of the blend, and its mask.
        var own = (9 * latent.Length * sizeof(float)) + Step;
        for (device.Capacity = most - 1; device.Capacity > most - own; device.Capacity -= Step)
        {
            var e = Assert.Throws<StableDiffusionException>(() => engine.Sample(run, Cancellation));
            Assert.True(e.IsOutOfMemory);
            engine.Recover(e);
            Assert.Equal(weights, device.LiveBuffers);
        }

        device.Capacity = most;
        Assert.Equal(expected, engine.Sample(run, Cancellation));
    }

    /// <summary>The autoencoder's encoder is read when a picture to begin with comes, and that may be cancelled again and again.</summary>
    [Fact]
    public void Weights_whose_loading_is_cancelled_are_freed()
    {
        using var stopped = new CancellationTokenSource();
        stopped.Cancel();
        Assert.Throws<OperationCanceledException>(() => engine.Encoder(Size, Size, cancellationToken: stopped.Token));
        Assert.Equal(0, device.LiveBuffers);
        engine.Encoder(Size, Size, cancellationToken: Cancellation);
        Assert.NotEqual(0, device.LiveBuffers);
    }

    [Fact]
    public void Weights_that_do_not_fit_are_freed_and_others_stay()
    {
        engine.Encoder(Size, Size, cancellationToken: Cancellation);
        var encoder = device.LiveBuffers;
        engine.Decoder(Size, Size, cancellationToken: Cancellation);
        var both = (Buffers: device.LiveBuffers, Bytes: device.PeakBytes);
        using var small = DeviceSession.OpenCpu(2);
        using var other = Open(small);
        other.Encoder(Size, Size, cancellationToken: Cancellation);

        // Only the last buffer does not fit.
        small.Capacity = both.Bytes - 1;
        Assert.True(Assert.Throws<StableDiffusionException>(() => other.Decoder(Size, Size, cancellationToken: Cancellation)).IsOutOfMemory);
        Assert.Equal(encoder, small.LiveBuffers);
        small.Capacity = both.Bytes;
        other.Decoder(Size, Size, cancellationToken: Cancellation);
        Assert.Equal(both, (small.LiveBuffers, small.PeakBytes));
    }

    public void Dispose()
    {
        engine.Dispose();
        device.Dispose();
        model.Dispose();
    }

    private DiffusionEngine<ushort> Open(DeviceSession on) =>
        new(model, on, DeviceFixture.Compile<ushort>(on, new Backend(BackendProfile.Best, Half: true)), FusionOptions.All);
}
