using System.Runtime.InteropServices;

namespace StableDiffusion.Ilgpu.Tests.Ptx.Driver;

/// <summary>What a driver allocated, of the device's memory and of the host's. Both are the process' own; a device's begins as NaN in fp16 and fp32.</summary>
internal sealed unsafe class DriverMemory(long deviceBytes)
{
    private const int Alignment = 256;

    private readonly SortedList<ulong, long> device = [];
    private readonly SortedList<ulong, long> host = [];
    private GlobalMemory? visible;

    public long DeviceBytes => deviceBytes;

    public long FreeBytes => deviceBytes - device.Values.Sum();

    /// <summary>All that kernels may touch now.</summary>
    public GlobalMemory Visible => visible ??= new GlobalMemory(device.Select(b => ((nint)b.Key, b.Value)));

    /// <returns>Zero where there is not so much.</returns>
    public nint Allocate(long bytes)
    {
        if (bytes > FreeBytes)
        {
            return 0;
        }

        var start = NativeMemory.AlignedAlloc((nuint)bytes, Alignment);
        NativeMemory.Fill(start, (nuint)bytes, 0xFF);
        device.Add((ulong)start, bytes);
        visible = null;
        return (nint)start;
    }

    public nint AllocateHost(long bytes)
    {
        var start = NativeMemory.AlignedAlloc((nuint)bytes, Alignment);
        host.Add((ulong)start, bytes);
        return (nint)start;
    }

    /// <returns>False if it is not the beginning of what was allocated.</returns>
    public bool Free(nint start)
    {
        visible = null;
        return Free(device, start);
    }

    public bool FreeHost(nint start) => Free(host, start);

    /// <summary>Whether bytes lie in the device's memory; those that begin there and end outside are a mistake.</summary>
    public bool IsDevice(nint start, long bytes) => Holds(device, start, bytes);

    /// <summary>Whether bytes lie in page-locked memory, from which and to which copies happen later.</summary>
    public bool IsLocked(nint start, long bytes) => Holds(host, start, bytes);

    public void Lock(nint start, long bytes) => host.Add((ulong)start, bytes);

    public bool Unlock(nint start) => host.Remove((ulong)start);

    private static bool Free(SortedList<ulong, long> blocks, nint start)
    {
        var found = blocks.Remove((ulong)start);
        if (found)
        {
            NativeMemory.AlignedFree((void*)start);
        }

        return found;
    }

    private static bool Holds(SortedList<ulong, long> blocks, nint start, long bytes)
    {
        foreach (var (first, count) in blocks)
        {
            if ((ulong)start >= first && (ulong)start < first + (ulong)count)
            {
                return (ulong)start + (ulong)bytes <= first + (ulong)count ? true
                    : throw new PtxException($"{bytes} bytes from byte {(ulong)start - first} of a block of {count} bytes");
            }
        }

        return false;
    }
}
