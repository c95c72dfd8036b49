using ILGPU;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>Kernels on the threads of ILGPU's CPU accelerator: one by one, as programs, and by its own launchers.</summary>
[Collection(SharedDevice.Name)]
public sealed class CpuLaunchesTests
{
    private const int Groups = 3;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>If this fails with another version of ILGPU, nothing else does: kernels are compiled and launched one by one, which is slow.</summary>
    [Fact]
    public void ILGPU_has_the_launch_that_is_used()
    {
        using var device = DeviceSession.OpenCpu(Groups);
        Assert.NotNull(device.CpuLaunches);
        Assert.Same(device.CpuLaunches, device.Recorder);
    }

    [Fact]
    public void A_picture_is_the_same_however_its_kernels_are_launched()
    {
        var program = Draw(compiles: false, records: true);
        Assert.Equal(program, Draw(compiles: false, records: false));
        Assert.Equal(program, Draw(compiles: true, records: false));
    }

    /// <summary>SIMD leaves are hidden from ILGPU's compiler; any leaf must be, whether this processor can run it or not.</summary>
    [Theory]
    [InlineData(nameof(LeafKind.Portable))]
    [InlineData(nameof(LeafKind.Simd128))]
    [InlineData(nameof(LeafKind.Simd256))]
    [InlineData(nameof(LeafKind.Simd512))]
    public void ILGPU_can_compile_the_kernels_all_the_same(string leaf)
    {
        using var device = DeviceSession.OpenCpu(Groups, compiles: true);
        BackendProfile.HalfKernels(device, Enum.Parse<LeafKind>(leaf)).Warm(Cancellation);
        BackendProfile.FloatKernels(device, Enum.Parse<LeafKind>(leaf)).Warm(Cancellation);
    }

    [Fact]
    public void Recorded_kernels_run_in_order_each_in_all_groups_with_their_counters_at_zero()
    {
        using var device = DeviceSession.OpenCpu(Groups);
        using var values = device.Upload<float>(new float[Groups]);
        using var counters = device.Upload<int>(new int[3]);
        using var program = device.CpuLaunches!.Record(stream =>
        {
            for (var i = 0; i < 3; i++)
            {
                device.CpuLaunches.Launch(stream, TakeTurns, new Step(i + 1), values.View, counters.View.SubView(i, 1));
            }
        });
        Assert.Equal(new float[Groups], Read(values.View));
        for (var run = 1; run <= 2; run++)
        {
            program.Launch(device.Stream, Cancellation);
            var expected = run == 1 ? 123 : 123123;
            Assert.Equal(Enumerable.Repeat((float)expected, Groups), Read(values.View));
            Assert.All(Read(counters.View), count => Assert.Equal(Groups, count));
        }
    }

    [Fact]
    public void A_program_stops_after_the_kernel_that_runs()
    {
        using var device = DeviceSession.OpenCpu(Groups);
        using var values = device.Upload<float>(new float[Groups]);
        using var counters = device.Upload<int>(new int[3]);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Cancellation);
        using var program = device.CpuLaunches!.Record(stream =>
        {
            device.CpuLaunches.Launch(stream, TakeTurns, new Step(1), values.View, counters.View.SubView(0, 1));
            device.CpuLaunches.Launch(stream, (_, _, _) => stop.Cancel(), new Step(0), values.View, counters.View.SubView(1, 1));
            device.CpuLaunches.Launch(stream, TakeTurns, new Step(2), values.View, counters.View.SubView(2, 1));
        });
        Assert.Throws<OperationCanceledException>(() => program.Launch(device.Stream, stop.Token));
        Assert.Equal(Enumerable.Repeat(1f, Groups), Read(values.View));
    }

    /// <summary>Every thread must see what all others did before a meeting, and none may be ahead by more than one.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(16)]
    public void Threads_meet(int threads)
    {
        const int Meetings = 500;
        var meeting = new GroupMeeting(threads, Cancellation);
        var done = new int[threads];
        var errors = 0;
        Thread[] all = [.. Enumerable.Range(0, threads).Select(i => new Thread(() =>
        {
            for (var step = 1; step <= Meetings; step++)
            {
                // Now and then one is late, so that the others sleep.
                if (step % 100 == i)
                {
                    Thread.Sleep(2);
                }

                done[i] = step;
                if (!meeting.Wait() || done.Any(d => d != step))
                {
                    Interlocked.Increment(ref errors);
                }

                meeting.Wait();
            }
        }))];
        Array.ForEach(all, t => t.Start());
        Array.ForEach(all, t => t.Join());
        Assert.Equal(0, errors);
    }

    private static float[] Draw(bool compiles, bool records)
    {
        var device = DeviceSession.OpenCpu(2, compiles);
        Assert.Equal(compiles, device.CpuLaunches is null);
        if (!records)
        {
            device.Recorder = null;
        }

        const int Size = 8;
        using var run = new DemoRun(device, BackendProfile.HalfKernels(device, BackendProfile.Best));
        return run.Engine.Decode(run.Sample(Size, steps: 3), Size, Size, cancellationToken: Cancellation);
    }

    /// <summary>Each group puts a digit behind a value of its own, three digits a run.</summary>
    private static void TakeTurns(Step step, ArrayView<float> values, ArrayView<int> counter)
    {
        values[Grid.IdxX] = (values[Grid.IdxX] * 10) + step.Digit;
        Interlocked.Increment(ref counter[0]);
    }

    private static T[] Read<T>(ArrayView<T> view) where T : unmanaged
    {
        var values = new T[view.Length];
        for (var i = 0; i < values.Length; i++)
        {
            values[i] = view[i];
        }

        return values;
    }

    private readonly record struct Step(int Digit);
}
