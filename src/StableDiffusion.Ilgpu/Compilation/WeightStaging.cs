using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Devices;

namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>
/// Memory of the processor on the way to a device (<see cref="HostMemory{T}"/>). Threads fill theirs side by side; one copies at a time.
/// </summary>
internal sealed class WeightStaging(DeviceSession device) : IDisposable
{
    /// <summary>Less is not worth locking: most parts have about as many bytes.</summary>
    private const int LeastBytes = 1 << 21;

    private readonly ConcurrentBag<HostMemory<byte>> idle = [];
    private readonly Lock copying = new();

    /// <summary>Fills memory and copies it.</summary>
    public void Copy<T>(ArrayView<T> target, Filling<T> fill) where T : unmanaged
    {
        var bytes = checked((int)(target.Length * Unsafe.SizeOf<T>()));
        if (!idle.TryTake(out var memory) || memory.Span.Length < bytes)
        {
            memory?.Dispose();
            memory = new HostMemory<byte>(device.Accelerator, Math.Max(bytes, LeastBytes));
        }

        try
        {
            var values = MemoryMarshal.Cast<byte, T>(memory.Span[..bytes]);
            fill(values);
            lock (copying)
            {
                target.CopyFromCPU(device.Stream, values);
                device.Stream.Synchronize();
            }
        }
        finally
        {
            idle.Add(memory);
        }
    }

    public void Dispose()
    {
        while (idle.TryTake(out var memory))
        {
            memory.Dispose();
        }
    }
}

/// <summary>Writes every value.</summary>
internal delegate void Filling<T>(Span<T> values);
