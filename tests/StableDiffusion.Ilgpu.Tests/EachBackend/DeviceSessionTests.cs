using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.OpenCL;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Tests.Ptx.Driver;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>What drivers ask of their users and tell them: it must be right where there is no such driver, too.</summary>
[Collection(SharedDevice.Name)]
public sealed class DeviceSessionTests(DeviceFixture fixture)
{
    public static TheoryData<string> Backends => [.. Backend.BestNames];

    [Fact]
    public void Whoever_asks_for_the_stream_has_bound_the_device_to_its_thread() => Check(device => _ = device.Stream);

    [Fact]
    public void Whoever_asks_for_the_accelerator_has_bound_the_device_to_its_thread() => Check(device => _ = device.Accelerator);

    [Fact]
    public void Whoever_allocates_has_bound_the_device_to_its_thread() => Check(device => device.Allocate<float>(1).Dispose());

    [Fact]
    public void Whoever_frees_has_bound_the_device_to_its_thread()
    {
        var buffer = fixture.Device.Allocate<float>(1);
        Check(_ => buffer.Dispose());
    }

    /// <summary>As before a first picture: on a thread that has not seen the device.</summary>
    [Theory]
    [MemberData(nameof(Backends))]
    public void Kernels_are_compiled_beforehand_on_any_thread(string name)
    {
        var backend = Backend.Find(name);
        var device = fixture.DeviceOf(backend);
        OnThreadOfItsOwn(() =>
        {
            if (backend.Half)
            {
                DeviceFixture.Compile<ushort>(device, backend).Warm(TestContext.Current.CancellationToken);
            }
            else
            {
                DeviceFixture.Compile<float>(device, backend).Warm(TestContext.Current.CancellationToken);
            }
        });
    }

    /// <summary>Some drivers give memory that is not there, and say so at its first use.</summary>
    [Theory]
    [InlineData(CLError.CL_MEM_OBJECT_ALLOCATION_FAILURE, true)]
    [InlineData(CLError.CL_OUT_OF_RESOURCES, true)]
    [InlineData(CLError.CL_INVALID_KERNEL_ARGS, false)]
    public void A_drivers_error_is_told_in_one_line(CLError error, bool isMemory)
    {
        var told = fixture.Device.Explain(new CLException(error));
        Assert.NotNull(told);
        Assert.Equal(isMemory, told.IsOutOfMemory);
        Assert.StartsWith(fixture.Device.Name, told.Message, StringComparison.Ordinal);
        Assert.Contains(error.ToString(), told.Message, StringComparison.Ordinal);
        Assert.Null(fixture.Device.Explain(new InvalidOperationException()));
        Assert.Equal(error.ToString(), DeviceSession.Said(new CLException(error)));
    }

    /// <summary>Linux would promise it, and end the process when it is used.</summary>
    [Fact]
    public void Memory_that_a_process_cannot_have_is_refused_in_one_line()
    {
        using var device = DeviceSession.OpenCpu(1);
        Assert.InRange(device.Capacity, 1 << 20, SystemMemory.Most);
        device.Capacity = 10 << 20;
        using var first = device.Allocate<byte>(6 << 20);
        var told = Assert.Throws<StableDiffusionException>(() => device.Allocate<byte>(5 << 20));
        Assert.Equal((true, "the processor: out of memory: 5 MiB more were needed beside the 6 MiB in use, of 10 MiB"), (told.IsOutOfMemory, told.Message));
        device.Allocate<byte>(4 << 20).Dispose();
    }

    /// <summary>What others took of a device its own count cannot know: the driver says so.</summary>
    [Fact]
    public void Memory_that_a_driver_refuses_leaves_the_device_in_order()
    {
        var device = ComputeDevice.All.FirstOrDefault(d => d.Kind == DeviceKind.Cuda);
        Assert.SkipWhen(device is null, "no CUDA device");
        using var others = DeviceSession.Open(device);
        var largest = device.MemoryBytes / 2 >> 22 << 22;
        using (others.Allocate<byte>(largest))
        {
            var session = DeviceSession.Open(device);
            _ = session.Allocate<byte>(largest / 4);
            var told = Assert.Throws<StableDiffusionException>(() => session.Allocate<byte>(largest));
            Assert.True(told.IsOutOfMemory);
            Assert.Contains($"{largest >> 20} MiB more were needed beside the {largest >> 22} MiB in use", told.Message, StringComparison.Ordinal);
            _ = session.Allocate<byte>(largest / 4);
            session.Dispose();
        }

        // Nothing of it is left.
        others.Allocate<byte>(others.FreeBytesAfter(0)).Dispose();
    }

    /// <summary>Whoever drew has been told why; who lets go of the device then must not be told something else.</summary>
    [Fact]
    public void A_device_whose_driver_has_failed_can_be_closed()
    {
        Assert.SkipWhen(InterpretedDriver.Installed is null, "no interpreted NVIDIA GPU");
        var session = DeviceSession.Open(ComputeDevice.All.First(d => d.Kind == DeviceKind.Cuda));
        var buffer = session.Allocate<float>(1);
        var host = new HostMemory<float>(session.Accelerator, 1);
        InterpretedDriver.Installed.HasFailed = true;
        try
        {
            Assert.NotNull(session.Explain(Assert.ThrowsAny<AcceleratorException>(session.Stream.Synchronize)));
            host.Dispose();
            buffer.Dispose();
            session.Dispose();
        }
        finally
        {
            InterpretedDriver.Installed.HasFailed = false;
        }

        Assert.Equal(0, session.LiveBuffers);
    }

    [Theory]
    [InlineData(100)]
    [InlineData(60)]
    public void The_processors_memory_is_copied_as_far_as_the_target_goes(int length)
    {
        using var host = new HostMemory<float>(fixture.Device.Accelerator, 100);
        using var target = fixture.Device.Upload<float>(new float[length]);
        float[] values = [.. Enumerable.Range(1, 100).Select(i => (float)i)];
        values.CopyTo(host.Span);
        host.CopyTo(fixture.Device.Stream, target.View.SubView(0, length));
        var read = new float[length];
        target.View.SubView(0, length).CopyToCPU(fixture.Device.Stream, read);
        fixture.Device.Stream.Synchronize();
        Assert.Equal(values[..length], read);
    }

    private void Check(Action<DeviceSession> use) => OnThreadOfItsOwn(() =>
    {
        Assert.Null(Accelerator.Current);
        use(fixture.Device);
        Assert.Same(fixture.Device.Accelerator, Accelerator.Current);
    });

    private static void OnThreadOfItsOwn(Action action)
    {
        Exception? failure = null;
        var thread = new Thread(() => failure = Record.Exception(action));
        thread.Start();
        thread.Join();
        Assert.Null(failure);
    }
}
