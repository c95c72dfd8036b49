using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;
using StableDiffusion.Ilgpu.Tests.Ptx;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>Tests that share an accelerator; they run one after the other.</summary>
[CollectionDefinition(Name)]
public sealed class SharedDevice : ICollectionFixture<DeviceFixture>
{
    public const string Name = "device";
}

/// <summary>
/// The CPU accelerator, any OpenCL and CUDA devices, and their kernels, compiled once. When all tests are done, no buffer may be left alive.
/// </summary>
public sealed class DeviceFixture : IDisposable
{
    /// <summary>As many as an interpreted GPU has: so few that tests have tiles of all sizes.</summary>
    private const int Multiprocessors = 4;

    private readonly Dictionary<(Backend Backend, Type Type), object> kernels = [];

    /// <summary>Two groups at least, so that tiles are shared out on any machine.</summary>
    internal DeviceSession Device { get; } = DeviceSession.OpenCpu(Math.Max(2, Environment.ProcessorCount));

    /// <summary>Compiles the kernels of interpreted backends.</summary>
    internal PtxKernelLoader Interpreter { get; } = new();

    /// <summary>The device of a backend, opened when it is first asked for.</summary>
    internal DeviceSession DeviceOf(Backend backend) => backend.Device.Kind == DeviceKind.Cpu ? Device : OpenDevices.Get(backend.Device);

    internal KernelSet<T> Kernels<T>(Backend backend) where T : unmanaged
    {
        if (!kernels.TryGetValue((backend, typeof(T)), out var set))
        {
            kernels.Add((backend, typeof(T)), set = backend.IsInterpreted ? Interpret(backend) : Compile<T>(DeviceOf(backend), backend));
        }

        return (KernelSet<T>)set;
    }

    /// <summary>Kernels of their own for another device.</summary>
    internal static KernelSet<T> Compile<T>(DeviceSession device, Backend backend) where T : unmanaged => (KernelSet<T>)(backend.Half
        ? (object)BackendProfile.HalfKernels(device, backend.Leaf)
        : BackendProfile.FloatKernels(device, backend.Leaf));

    private object Interpret(Backend backend) => (backend.Leaf, backend.Half) switch
    {
        (LeafKind.Tensor, true) => new CudaKernels(Interpreter, Multiprocessors, TensorCores.Ampere),
        (_, true) => new GpuKernels<ushort, GpuHalfFormat<CudaHalfConversion>>(Interpreter, Multiprocessors),
        _ => new GpuKernels<float, FloatFormat>(Interpreter, Multiprocessors),
    };

    public void Dispose()
    {
        Interpreter.Dispose();
        var alive = Device.LiveBuffers;
        Device.Dispose();
        alive += OpenDevices.CloseAll();
        Assert.True(alive == 0, $"{alive} device buffers are alive after the last test");
    }
}
