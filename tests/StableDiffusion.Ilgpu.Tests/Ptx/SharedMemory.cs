using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>
/// A block's shared memory. What was not written yet is NaN in fp16 and fp32. Two warps that access the same bytes between two barriers, one of them
/// writing, are an error: the result would depend on which is faster.
/// </summary>
internal sealed unsafe class SharedMemory
{
    private const uint Poison = 0x7FC57FC5;

    /// <summary>In a stamp, more than one warp.</summary>
    private const long Many = 63;

    private readonly byte[] memory;
    private readonly byte* bytes;

    // For each two bytes, (interval between barriers) * 64 + warp of the last write and read.
    private readonly long[] writers;
    private readonly long[] readers;
    private readonly PtxStatistics statistics;
    private long interval = 1;
    private long firstInterval;

    // Fences, counted: at the last write of each two bytes, and at each warp's last fence.
    private readonly long[] written;
    private readonly long[] published = new long[64];
    private long fences;

    public SharedMemory(int size, PtxStatistics statistics)
    {
        this.statistics = statistics;
        Size = size;
        memory = GC.AllocateArray<byte>(size + 16, pinned: true);
        bytes = (byte*)Unsafe.AsPointer(ref memory[0]);
        writers = new long[(size / 2) + 1];
        readers = new long[(size / 2) + 1];
        written = new long[(size / 2) + 1];
    }

    public int Size { get; }

    /// <summary>Before a block's first instruction.</summary>
    public void Reset()
    {
        new Span<uint>(bytes, (Size + 3) / 4).Fill(Poison);
        firstInterval = ++interval;
    }

    /// <summary>At a barrier of all threads.</summary>
    public void Synchronize() => interval++;

    public byte* Read(ulong address, int count, int alignment, int warp)
    {
        var at = Locate(address, count, alignment);
        var stamp = (interval * 64) + warp;
        if (count == 2 * Vector512<long>.Count && MarkRead(at / 2, stamp))
        {
            return bytes + at;
        }

        for (var i = at / 2; i <= (at + count - 1) / 2; i++)
        {
            var writer = writers[i];
            if (writer != stamp && writer / 64 == interval)
            {
                throw new PtxException($"shared address {address} is read without a barrier after warp {writer % 64} wrote it");
            }

            var reader = readers[i];
            readers[i] = reader == stamp || reader / 64 != interval ? stamp : (interval * 64) + Many;
        }

        return bytes + at;
    }

    /// <summary>Lets what a warp wrote be read asynchronously.</summary>
    public void Publish(int warp) => published[warp] = ++fences;

    /// <summary>16 bytes, for a reader that sees only what was published by the warp that wrote it.</summary>
    public byte* ReadAsynchronously(ulong address, int warp)
    {
        const int Count = 16;
        var first = Locate(address, Count, Count) / 2;
        var (writer, fence) = (writers[first], written[first]);
        if (Vector512.EqualsAll(Vector512.Create(writers, first), Vector512.Create(writer))
            && Vector512.EqualsAll(Vector512.Create(written, first), Vector512.Create(fence)))
        {
            CheckPublished(address, writer, fence);
        }
        else
        {
            for (var i = first; i < first + (Count / 2); i++)
            {
                CheckPublished(address, writers[i], written[i]);
            }
        }

        return Read(address, Count, Count, warp);
    }

    public byte* Write(ulong address, int count, int alignment, int warp)
    {
        var at = Locate(address, count, alignment);
        var stamp = (interval * 64) + warp;
        for (var i = at / 2; i <= (at + count - 1) / 2; i++)
        {
            var (writer, reader) = (writers[i], readers[i]);
            if (writer != stamp && writer / 64 == interval)
            {
                throw new PtxException($"shared address {address} is written without a barrier after warp {writer % 64} wrote it");
            }

            if (reader != stamp && reader / 64 == interval)
            {
                throw new PtxException(
                    $"shared address {address} is written without a barrier after {(reader % 64 == Many ? "several warps" : $"warp {reader % 64}")} read it");
            }

            writers[i] = stamp;
            written[i] = fences;
        }

        return bytes + at;
    }

    /// <summary>Makes bytes unreadable until a copy arrives there.</summary>
    public static void Spoil(byte* target, int count)
    {
        for (var i = 0; i < count; i += 4)
        {
            *(uint*)(target + i) = Poison;
        }
    }

    /// <summary>
    /// Counts the passes of one access: of a warp's lanes, in the order of their numbers, as many as move 128 bytes go together, and each 4 bytes
    /// (or each lane's larger word) belong to one bank.
    /// </summary>
    public void CountBanks(SharedAccess kind, ReadOnlySpan<ulong> addresses, uint mask, int count)
    {
        var unit = Math.Max(4, count);
        var (together, banks) = (Math.Min(32, 128 / unit), (ulong)(128 / unit));
        var (passes, extra) = (0, 0);
        Span<int> lanes = stackalloc int[32];
        Span<ulong> words = stackalloc ulong[32 * 32];
        for (var first = 0; first < addresses.Length; first += together)
        {
            lanes.Clear();
            var most = 0;
            for (var lane = first; lane < first + together && lane < addresses.Length; lane++)
            {
                if ((mask >> lane & 1) == 0)
                {
                    continue;
                }

                var word = addresses[lane] / (ulong)unit;
                var bank = (int)(word % banks);
                var known = words.Slice(bank * 32, lanes[bank]);
                if (!known.Contains(word))
                {
                    words[(bank * 32) + lanes[bank]++] = word;
                    most = Math.Max(most, lanes[bank]);
                }
            }

            if (most > 0)
            {
                passes++;
                extra += most - 1;
            }
        }

        statistics.Count(kind, passes, extra);
    }

    private void CheckPublished(ulong address, long writer, long fence)
    {
        if (writer / 64 >= firstInterval && published[writer % 64] <= fence)
        {
            throw new PtxException($"shared address {address} is read without a fence.proxy.async after warp {writer % 64} wrote it");
        }
    }

    /// <summary>What <see cref="Read"/> does for 16 bytes, unless some of them must not be read.</summary>
    private bool MarkRead(int first, long stamp)
    {
        var (writer, reader, now) = (Vector512.Create(writers, first), Vector512.Create(readers, first), Vector512.Create(interval * 64));
        var stamps = Vector512.Create(stamp);
        if (!Vector512.EqualsAll(Vector512.LessThan(writer, now) | Vector512.Equals(writer, stamps), Vector512<long>.AllBitsSet))
        {
            return false;
        }

        Vector512.ConditionalSelect(Vector512.LessThan(reader, now) | Vector512.Equals(reader, stamps), stamps, now + Vector512.Create(Many)).CopyTo(readers, first);
        return true;
    }

    private int Locate(ulong address, int count, int alignment)
    {
        var at = (long)address - PtxProgram.SharedBase;
        if (at < 0 || at + count > Size)
        {
            throw new PtxException($"{count} bytes at shared address {address} lie outside of the {Size} bytes from {PtxProgram.SharedBase}");
        }

        return address % (ulong)alignment == 0 ? (int)at : throw new PtxException($"shared address {address} is not aligned to {alignment} bytes");
    }
}
