using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.CPU;
using ILGPU.Runtime.Cuda;
using ILGPU.Runtime.OpenCL;

namespace StableDiffusion.Ilgpu.Devices;

/// <summary>An open accelerator: its context, its stream, and the count of what is allocated on it.</summary>
internal sealed class DeviceSession : IDisposable
{
    /// <summary>What a driver may take for itself once everything is planned: kernels that it loads when they first run, graphs, and memory in pieces.</summary>
    private const long DriversBytes = 128 << 20;

    private readonly Context context;
    private readonly Accelerator accelerator;
    private readonly Hardware hardware;
    private int liveBuffers;
    private long allocatedBytes;
    private long peakBytes;

    private DeviceSession(Context context, Accelerator accelerator, Hardware hardware, CpuLaunches? cpuLaunches = null)
    {
        this.context = context;
        this.accelerator = accelerator;
        this.hardware = hardware;
        Capacity = accelerator.AcceleratorType == AcceleratorType.CPU ? SystemMemory.Most : accelerator.MemorySize;
        LargestBuffer = accelerator is CLAccelerator { Device: CLDevice device } ? OpenClDevices.LargestBuffer(device) : long.MaxValue;
        CpuLaunches = cpuLaunches;
        Recorder = accelerator is CudaAccelerator cuda ? new CudaGraphs(cuda) : cpuLaunches;
    }

    /// <summary>
    /// The accelerator, bound to the thread that asks: CUDA's driver refuses calls of other threads, and ILGPU binds only the one that opened it. So whoever
    /// uses the device asks on its own thread, for this or for <see cref="Stream"/>.
    /// </summary>
    public Accelerator Accelerator
    {
        get
        {
            accelerator.Bind();
            return accelerator;
        }
    }

    /// <summary>What messages call the device.</summary>
    public string Name => IsHost ? "the processor" : accelerator.Name;

    public AcceleratorStream Stream => Accelerator.DefaultStream;

    /// <summary>Launches kernels on the CPU accelerator without ILGPU's compiler; null for other devices, and where that cannot be done.</summary>
    public CpuLaunches? CpuLaunches { get; }

    /// <summary>Records programs' launches; without one they are launched one by one.</summary>
    public ILaunchRecorder? Recorder { get; set; }

    /// <summary>Whether the device's memory is the processor's own.</summary>
    public bool IsHost => accelerator.AcceleratorType == AcceleratorType.CPU;

    /// <summary>Whether a processor computes: the CPU accelerator, or an OpenCL driver for processors.</summary>
    public bool IsProcessor => hardware == Hardware.Processor;

    /// <summary>Bytes that one buffer may have.</summary>
    public long LargestBuffer { get; }

    /// <summary>Bytes that there are in all: of the device's memory, or, on the processor, of what this process can have.</summary>
    public long Capacity { get; set; }

    /// <summary>Groups that run at the same time: kernels are launched with so many, and each takes tiles until none is left.</summary>
    public int Groups => Accelerator.NumMultiprocessors;

    /// <summary>Units of a GPU that tiles are shared out to; each runs several groups at a time.</summary>
    public int Multiprocessors => Accelerator is CLAccelerator { Device: CLDevice device } ? OpenClDevices.Multiprocessors(device.PlatformName, Groups) : Groups;

    /// <summary>Buffers that are allocated and not yet disposed.</summary>
    public int LiveBuffers => liveBuffers;

    /// <summary>The most bytes that were allocated at a time.</summary>
    public long PeakBytes => Interlocked.Read(ref peakBytes);

    /// <summary>
    /// Bytes that plans may still take when so many more have been freed (negative where they are going to be allocated). Of the machine's own memory, which
    /// others need too and integrated GPUs share, half of what is left. What else uses a GPU is only seen where its driver tells, as CUDA's does.
    /// </summary>
    public long FreeBytesAfter(long freed)
    {
        return Math.Max(0, hardware switch
        {
            Hardware.Processor => OfMachine(),
            Hardware.IntegratedGpu => Math.Min(OfMachine(), OfDevice()),
            _ => OfDevice(),
        });

        long OfMachine() => (SystemMemory.Available + freed) / 2;

        long OfDevice()
        {
            var left = Accelerator.MemorySize - Interlocked.Read(ref allocatedBytes);
            return freed + (Accelerator is CudaAccelerator cuda ? Math.Min(left, cuda.GetFreeMemory() - DriversBytes) : left);
        }
    }

    /// <summary>Opens a device.</summary>
    /// <param name="device">One of this machine.</param>
    /// <param name="configure">Completes the context of a device with a driver, for example with intrinsics of its kernels.</param>
    /// <exception cref="StableDiffusionException">The driver cannot open it.</exception>
    public static DeviceSession Open(ComputeDevice device, Action<Context.Builder>? configure = null)
    {
        if (device.Driver is null)
        {
            return OpenCpu(device.ComputeUnits);
        }

        var context = Context.Create(builder =>
        {
            builder.Optimize(OptimizationLevel.O2).Inlining(InliningMode.Aggressive);
            configure?.Invoke(builder);
        });
        try
        {
            return new DeviceSession(context, device.Driver.CreateAccelerator(context), device.Hardware);
        }
        catch (Exception e) when (e is AcceleratorException or NotSupportedException)
        {
            context.Dispose();
            throw new StableDiffusionException($"{device}: its driver cannot open it: {Said(e) ?? e.Message}", e);
        }
    }

    /// <summary>The processor, with one group per core. Two threads a warp are the fewest that ILGPU allows; kernels use one.</summary>
    /// <param name="cores">How many take part.</param>
    /// <param name="compiles">Kernels go through ILGPU's compiler and its own launchers, as they do if another version has other internals.</param>
    public static DeviceSession OpenCpu(int cores, bool compiles = false)
    {
        // ILGPU runs kernels as .NET compiled them: what it would optimise is not what runs.
        var context = Context.Create(builder => builder.CPU(new CPUDevice(2, 1, cores)).Optimize(OptimizationLevel.O0));
        var accelerator = context.CreateCPUAccelerator(0);
        return new DeviceSession(context, accelerator, Hardware.Processor, compiles ? null : CpuLaunches.Create(accelerator));
    }

    /// <exception cref="StableDiffusionException">The device has not so much memory left.</exception>
    public DeviceBuffer<T> Allocate<T>(long count) where T : unmanaged
    {
        var bytes = count * System.Runtime.CompilerServices.Unsafe.SizeOf<T>();
        if (bytes > LargestBuffer)
        {
            throw new StableDiffusionException(
                $"{Name}: a buffer of {Mebibytes(bytes)} is needed, and its driver allows {Mebibytes(LargestBuffer)} (CL_DEVICE_MAX_MEM_ALLOC_SIZE)");
        }

        // Drivers often promise more than there is, and fail or become slow when it is used; so does Linux, and ends the process.
        if (bytes > Capacity - Interlocked.Read(ref allocatedBytes))
        {
            throw OutOfMemory(bytes);
        }

        try
        {
            var memory = Accelerator.Allocate1D<T>(Math.Max(1, count));
            if (IsHost)
            {
                LargePages.Prefer(memory.NativePtr, memory.LengthInBytes);
            }

            Count(1, bytes);
            return new DeviceBuffer<T>(memory, Free);
        }
        catch (Exception e) when (e is OutOfMemoryException or AcceleratorException)
        {
            FailedObjects.Forget();
            throw OutOfMemory(bytes, e);
        }

        void Free(MemoryBuffer memory)
        {
            Release(() =>
            {
                accelerator.Bind();
                memory.Dispose();
            });
            Count(-1, -bytes);
        }
    }

    /// <summary>Memory that holds these values.</summary>
    /// <param name="values">The values.</param>
    /// <param name="room">Elements behind them that hold anything.</param>
    /// <exception cref="StableDiffusionException">The device has not so much memory left.</exception>
    public DeviceBuffer<T> Upload<T>(ReadOnlySpan<T> values, long room = 0) where T : unmanaged
    {
        var buffer = Allocate<T>(values.Length + room);
        try
        {
            buffer.View.SubView(0, values.Length).CopyFromCPU(Stream, values);
            Stream.Synchronize();
            return buffer;
        }
        catch
        {
            buffer.Dispose();
            throw;
        }
    }

    /// <summary>
    /// A driver's error in one line; null where it is none. OpenCL's drivers may give memory that they do not have, and say so when it is first used.
    /// </summary>
    public StableDiffusionException? Explain(Exception error)
    {
        var said = Said(error);
        var isMemory = error is CLException { Error: CLError.CL_MEM_OBJECT_ALLOCATION_FAILURE or CLError.CL_OUT_OF_RESOURCES or CLError.CL_OUT_OF_HOST_MEMORY }
            || (error is CudaException && said!.Replace('_', ' ').Contains("out of memory", StringComparison.OrdinalIgnoreCase));
        return said is null ? null
            : isMemory ? new StableDiffusionException(
                $"{Name}: out of memory: its driver says {said}, with {Mebibytes(Interlocked.Read(ref allocatedBytes))} in use", error)
            {
                IsOutOfMemory = true,
            }
            : new StableDiffusionException($"{Name}: its driver says {said}; another device or driver is needed", error);
    }

    /// <summary>A driver's own word for its error, which ILGPU's message has not; null where it is none.</summary>
    internal static string? Said(Exception error) => error switch
    {
        CLException opencl => opencl.Error.ToString(),
        CudaException cuda => cuda.Error,
        AcceleratorException other => other.Message,
        _ => null,
    };

    /// <summary>
    /// Frees something. A driver that has failed may fail at that too, and at everything from now on: its first error, which tells more, must not be lost behind
    /// this one, nor what else there is to free.
    /// </summary>
    public static void Release(Action free)
    {
        try
        {
            free();
        }
        catch (AcceleratorException)
        {
            // Whoever used the device has been told, or is told by its next use.
        }
    }

    public void Dispose()
    {
        Release(() => Recorder?.Dispose());
        Release(accelerator.Bind);
        Release(accelerator.Dispose);
        Release(context.Dispose);
    }

    private StableDiffusionException OutOfMemory(long bytes, Exception? inner = null)
    {
        var message = $"{Name}: out of memory: {Mebibytes(bytes)} more were needed beside the {Mebibytes(Interlocked.Read(ref allocatedBytes))} in use"
            + (Capacity == long.MaxValue ? "" : $", of {Mebibytes(Capacity)}");
        return inner is null ? new StableDiffusionException(message) { IsOutOfMemory = true }
            : new StableDiffusionException(message, inner) { IsOutOfMemory = true };
    }

    private static string Mebibytes(long bytes) => $"{bytes / 1048576.0:0} MiB";

    private void Count(int buffers, long bytes)
    {
        Interlocked.Add(ref liveBuffers, buffers);
        var now = Interlocked.Add(ref allocatedBytes, bytes);
        for (var peak = PeakBytes; now > peak && Interlocked.CompareExchange(ref peakBytes, now, peak) != peak; peak = PeakBytes)
        {
            // Another thread has set it meanwhile.
        }
    }
}

/// <summary>Memory on a device.</summary>
internal sealed class DeviceBuffer<T>(MemoryBuffer1D<T, Stride1D.Dense> buffer, Action<MemoryBuffer> free) : IDisposable where T : unmanaged
{
    private bool disposed;

    public ArrayView<T> View => buffer.View.BaseView;

    public long Length => buffer.Length;

    public void Dispose()
    {
        if (!disposed)
        {
            disposed = true;
            free(buffer);
        }
    }
}
