using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Devices;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>What CUDA's driver asks of threads, which other devices do not mind: it must be kept where there is no such driver, too.</summary>
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
