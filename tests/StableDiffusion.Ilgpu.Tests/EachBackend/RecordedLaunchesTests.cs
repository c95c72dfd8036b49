using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>Programs whose launches are recorded: when they are, and that nothing is different for it.</summary>
[Collection(SharedDevice.Name)]
public sealed class RecordedLaunchesTests
{
    private const int Steps = 4;
    private const int Size = 4;

    public static TheoryData<string> Backends => [.. Backend.BestNames.Where(name => Backend.Find(name).Half)];

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>A larger picture makes the memory grow: what was recorded before must not run in the old one.</summary>
    [Theory]
    [MemberData(nameof(Backends))]
    public void Latents_are_the_same_in_any_memory(string backend)
    {
        var plain = Draw(null);
        Assert.Equal(plain, Draw(new() { Refuses = true }));

        // From a program's second run on: the first size, the second one, and the first again in the memory of the second.
        var recorder = new CountingRecorder();
        Assert.Equal(plain, Draw(recorder));
        Assert.Equal((3, (4 * Steps) - 2, 0), (recorder.Recorded, recorder.Launched, recorder.Alive));

        float[][] Draw(CountingRecorder? counts)
        {
            using var run = new Run(backend, counts);
            return [run.Sample(Size), run.Sample(2 * Size), run.Sample(Size), run.Sample(Size)];
        }
    }

    [Theory]
    [MemberData(nameof(Backends))]
    public void Recorded_launches_leave_with_their_model(string backend)
    {
        var recorder = new CountingRecorder();
        using var run = new Run(backend, recorder, offload: true);
        var latents = run.Sample(Size);
        Assert.Equal((1, 1), (recorder.Recorded, recorder.Alive));
        run.Engine.Decode(latents, Size, Size, cancellationToken: Cancellation);
        Assert.Equal((1, 0), (recorder.Recorded, recorder.Alive));
        Assert.Equal(latents, run.Sample(Size));
    }

    [Theory]
    [MemberData(nameof(Backends))]
    public void Timed_and_cancelled_runs_are_not_replayed(string backend)
    {
        var recorder = new CountingRecorder();
        using var run = new Run(backend, recorder);
        run.Sample(Size);
        var (launched, step) = (recorder.Launched, run.Engine.UNet(2, Size, Size, cancellationToken: Cancellation).Step);
        step.Run(timed: true, Cancellation);
        Assert.All(step.Launches, l => Assert.NotNull(l.Milliseconds));
        using var stopped = new CancellationTokenSource();
        stopped.Cancel();
        Assert.Throws<OperationCanceledException>(() => step.Run(cancellationToken: stopped.Token));
        Assert.Equal(launched, recorder.Launched);
        step.Run(cancellationToken: Cancellation);
        Assert.Equal(launched + 1, recorder.Launched);
    }

    /// <summary>The built-in model on a device of its own, whose recorder is looked at.</summary>
    private sealed class Run : IDisposable
    {
        private readonly LoadedModel model = LoadedModel.Open(model: null);
        private readonly DeviceSession device;
        private float[]? context;

        /// <param name="name">The backend's.</param>
        /// <param name="recorder">Counts; null for a device that records nothing.</param>
        /// <param name="offload">Models take turns.</param>
        public Run(string name, CountingRecorder? recorder, bool offload = false)
        {
            var backend = Backend.Find(name);
            device = backend.Device.Kind == DeviceKind.Cpu ? DeviceSession.OpenCpu(2) : BackendProfile.Open(backend.Device);
            recorder?.Inner = device.Recorder;
            device.Recorder = recorder;
            Engine = new DiffusionEngine<ushort>(model, device, DeviceFixture.Compile<ushort>(device, backend), FusionOptions.All, offload);
        }

        public DiffusionEngine<ushort> Engine { get; }

        /// <summary>With noise in every step.</summary>
        public float[] Sample(int size)
        {
            // Once: the text encoder's launches would be recorded too.
            context ??= Engine.Encode([.. model.Tokenize(""), .. model.Tokenize("a red apple")], cancellationToken: Cancellation);
            return Engine.Sample(
                new SamplingRun
                {
                    Context = new StepContexts(context),
                    Guidance = 3,
                    Height = size,
                    Width = size,
                    Plan = Samplers.EulerAncestral.Plan(model.Schedule, Steps, Scheduler.Discrete),
                    Draw = new BatchNoise(NoiseGenerator.Cuda, 42, 1, model.VaeConfig.LatentChannels * size * size).Draw,
                },
                Cancellation);
        }

        public void Dispose()
        {
            Engine.Dispose();
            device.Dispose();
            model.Dispose();
        }
    }
}
