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
            using var run = Open(backend, counts);
            return [run.Sample(Size, Steps), run.Sample(2 * Size, Steps), run.Sample(Size, Steps), run.Sample(Size, Steps)];
        }
    }

    [Theory]
    [MemberData(nameof(Backends))]
    public void Recorded_launches_leave_with_their_model(string backend)
    {
        var recorder = new CountingRecorder();
        using var run = Open(backend, recorder, offload: true);
        var latents = run.Sample(Size, Steps);
        Assert.Equal((1, 1), (recorder.Recorded, recorder.Alive));
        run.Engine.Decode(latents, Size, Size, cancellationToken: Cancellation);
        Assert.Equal((1, 0), (recorder.Recorded, recorder.Alive));
        Assert.Equal(latents, run.Sample(Size, Steps));
    }

    [Theory]
    [MemberData(nameof(Backends))]
    public void Timed_and_cancelled_runs_are_not_replayed(string backend)
    {
        var recorder = new CountingRecorder();
        using var run = Open(backend, recorder);
        run.Sample(Size, Steps);
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

    /// <summary>
    /// Where a driver allows it, the device has its next step when it is done with one; and nothing more, for that could not be stopped. How long steps take is known
    /// after the first one, and where they are long none is asked for ahead.
    /// </summary>
    [Theory]
    [MemberData(nameof(Backends))]
    public void One_step_at_most_is_asked_for_ahead(string backend)
    {
        Check(TimeSpan.MaxValue, Backend.Find(backend).Device.Kind == DeviceKind.Cuda ? 1 : 0);
        Check(TimeSpan.Zero, 0);

        void Check(TimeSpan shortStep, int most)
        {
            var recorder = new CountingRecorder();
            using var run = Open(backend, recorder, shortStep: shortStep);
            var latents = run.Sample(Size, Steps);
            var before = recorder.Launched;
            List<(int Done, int Asked)> reports = [];
            Assert.Equal(latents, run.Sample(Size, Steps, Report));
            Assert.Equal(Enumerable.Range(1, Steps).Select(done => (done, done == 1 ? 1 : Math.Min(done + most, Steps))), reports);

            foreach (var last in (int[])[1, 2])
            {
                before = recorder.Launched;
                reports.Clear();
                using var stop = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);
                Assert.Throws<OperationCanceledException>(() => run.Sample(Size, Steps, done => StopAt(last, done, stop), stop.Token));
                Assert.Equal(last, reports[^1].Done);
                Assert.Equal(last == 1 ? 1 : Math.Min(last + most, Steps), recorder.Launched - before);
            }

            Assert.Equal(latents, run.Sample(Size, Steps));

            void Report(int done) => reports.Add((done, recorder.Launched - before));

            void StopAt(int last, int done, CancellationTokenSource stop)
            {
                Report(done);
                if (done == last)
                {
                    stop.Cancel();
                }
            }
        }
    }

    /// <summary>A decoder needs more memory than the UNet: if it is made when the decoder runs, the UNet's launches are recorded in memory that is gone.</summary>
    [Theory]
    [MemberData(nameof(Backends))]
    public void Room_for_the_decoder_is_made_before_the_steps(string backend)
    {
        var recorder = new CountingRecorder();
        using var run = Open(backend, recorder);
        const int Larger = 2 * Size;
        run.Engine.Prepare(Larger, Cancellation);
        Assert.InRange(run.Engine.MeasureUNet(2, Larger, Larger), 1, run.Engine.MeasureDecoder(Larger, Larger) - 1);
        run.Engine.ReserveDecoder(Larger, Larger);
        var latents = run.Sample(Larger, 2);
        var recorded = recorder.Recorded;
        run.Engine.Decode(latents, Larger, Larger, cancellationToken: Cancellation);
        Assert.Equal(latents, run.Sample(Larger, 2));
        Assert.Equal(recorded, recorder.Recorded);
    }

    /// <param name="name">The backend's.</param>
    /// <param name="recorder">Counts; null for a device that records nothing.</param>
    /// <param name="offload">Models take turns.</param>
    /// <param name="shortStep">Steps that are asked for ahead take less.</param>
    private static DemoRun Open(string name, CountingRecorder? recorder, bool offload = false, TimeSpan? shortStep = null)
    {
        var backend = Backend.Find(name);
        var device = backend.Device.Kind == DeviceKind.Cpu ? DeviceSession.OpenCpu(2) : BackendProfile.Open(backend.Device);
        recorder?.Inner = device.Recorder;
        device.Recorder = recorder;
        return new(device, DeviceFixture.Compile<ushort>(device, backend), offload, shortStep);
    }
}
