using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Devices;

namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>
/// Page-locked memory of the processor on the way to a device: a CUDA driver copies from it straight, and from other memory by way of its own.
/// Threads fill theirs side by side; one copies at a time.
/// </summary>
internal sealed class WeightStaging(DeviceSession device) : IDisposable
{
    /// <summary>Less is not worth locking: most parts have about as many bytes.</summary>
    private const int LeastBytes = 1 << 21;

    private readonly ConcurrentBag<PageLockedArray1D<byte>> idle = [];
    private readonly Lock copying = new();

    /// <summary>Fills memory and copies it.</summary>
    public void Copy<T>(ArrayView<T> target, Filling<T> fill) where T : unmanaged
    {
        var bytes = checked((int)(target.Length * Unsafe.SizeOf<T>()));
        var accelerator = device.Accelerator;
        if (!idle.TryTake(out var memory) || memory.Length < bytes)
        {
            memory?.Dispose();
            memory = accelerator.AllocatePageLocked1D<byte>(Math.Max(bytes, LeastBytes), uninitialized: true);
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
        device.Accelerator.Bind();
        while (idle.TryTake(out var memory))
        {
            memory.Dispose();
        }
    }
}

/// <summary>Writes every value.</summary>
internal delegate void Filling<T>(Span<T> values);
