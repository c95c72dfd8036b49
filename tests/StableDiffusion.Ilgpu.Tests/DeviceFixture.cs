using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Kernels;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>Tests that share an accelerator; they run one after the other.</summary>
[CollectionDefinition(Name)]
public sealed class SharedDevice : ICollectionFixture<DeviceFixture>
{
    public const string Name = "device";
}

/// <summary>The CPU accelerator and its kernels, compiled once. When all tests are done, no buffer may be left alive on it or on an OpenCL device.</summary>
public sealed class DeviceFixture : IDisposable
{
    private readonly Dictionary<(LeafKind Leaf, Type Type), object> kernels = [];

    /// <summary>Two groups at least, so that tiles are shared out on any machine.</summary>
    internal DeviceSession Device { get; } = DeviceSession.OpenCpu(Math.Max(2, Environment.ProcessorCount));

    internal KernelSet<T> Kernels<T>(Backend backend) where T : unmanaged
    {
        if (!kernels.TryGetValue((backend.Leaf, typeof(T)), out var set))
        {
            kernels.Add((backend.Leaf, typeof(T)), set = Compile<T>(Device, backend));
        }

        return (KernelSet<T>)set;
    }

    /// <summary>Kernels of their own for another device.</summary>
    internal static KernelSet<T> Compile<T>(DeviceSession device, Backend backend) where T : unmanaged => (KernelSet<T>)(backend.Half
        ? (object)BackendProfile.HalfKernels(device, backend.Leaf)
        : BackendProfile.FloatKernels(device, backend.Leaf));

    public void Dispose()
    {
        var alive = Device.LiveBuffers;
        Device.Dispose();
        alive += OpenClDevice.CloseAll();
        Assert.True(alive == 0, $"{alive} device buffers are alive after the last test");
    }
}
