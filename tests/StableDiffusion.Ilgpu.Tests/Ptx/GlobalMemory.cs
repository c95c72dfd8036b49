namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>The host's memory, of which a kernel may touch the buffers that it was given.</summary>
internal sealed unsafe class GlobalMemory
{
    private readonly (ulong Start, ulong End)[] buffers;

    /// <summary>The buffer that was touched last: threads that run side by side may take it from each other.</summary>
    private int last;

    /// <param name="buffers">Where each begins, and its bytes.</param>
    public GlobalMemory(IEnumerable<(nint Start, long Bytes)> buffers) =>
        this.buffers = [.. buffers.Where(b => b.Bytes > 0).Select(b => ((ulong)b.Start, (ulong)b.Start + (ulong)b.Bytes)).Distinct()];

    public byte* At(ulong address, int bytes, int alignment)
    {
        if (!Holds(address, address + (ulong)bytes))
        {
            throw new PtxException($"{bytes} bytes at global address {Offset(address)} lie outside of the buffers");
        }

        return address % (ulong)alignment == 0 ? (byte*)address
            : throw new PtxException($"global address {Offset(address)} is not aligned to {alignment} bytes");
    }

    /// <summary>Whether all bytes from one address to another lie in one buffer.</summary>
    public bool Holds(ulong start, ulong end)
    {
        if (start >= end)
        {
            return false;
        }

        var known = last;
        if (known < buffers.Length && start >= buffers[known].Start && end <= buffers[known].End)
        {
            return true;
        }

        for (var i = 0; i < buffers.Length; i++)
        {
            if (start >= buffers[i].Start && end <= buffers[i].End)
            {
                last = i;
                return true;
            }
        }

        return false;
    }

    /// <summary>Beside the nearest buffer: the numbers themselves differ between runs.</summary>
    private string Offset(ulong address)
    {
        if (buffers.Length == 0 || address < 1 << 16)
        {
            return $"{address}";
        }

        var index = Enumerable.Range(0, buffers.Length).MinBy(i => Math.Min(Distance(address, buffers[i].Start), Distance(address, buffers[i].End)));
        var (start, end) = buffers[index];
        return $"{(long)(address - start)} of buffer {index}, which has {end - start} bytes,";
    }

    private static ulong Distance(ulong a, ulong b) => a > b ? a - b : b - a;
}
