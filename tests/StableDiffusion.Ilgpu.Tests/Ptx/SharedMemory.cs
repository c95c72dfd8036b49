using System.Numerics;
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
    private const int Many = 63;

    /// <summary>Stamps and fences that are counted before all begin anew.</summary>
    private const int MostCounted = 1 << 24;

    private readonly byte[] memory;
    private readonly byte* bytes;

    // For each two bytes, (interval between barriers) * 64 + warp of the last write and read.
    private readonly int[] writers;
    private readonly int[] readers;
    private PtxStatistics statistics = new();
    private int interval = 1;
    private int firstInterval;

    // Fences, counted: at the last write of each two bytes, and at each warp's last fence.
    private readonly int[] written;
    private readonly int[] published = new int[64];
    private int fences;

    // Where barriers are for some warps: the readers of the second warpgroup stand apart, and intervals are those of the warps.
    private readonly BarrierOrder? order;
    private readonly int[] secondReaders;

    // Each warp's fences with the intervals that they stand in.
    private readonly List<(int Fence, int Interval)>[] fencesOf = [.. Enumerable.Range(0, 64).Select(_ => new List<(int, int)>())];

    public SharedMemory(int size, BarrierOrder? order = null)
    {
        this.order = order;
        Size = size;
        memory = GC.AllocateArray<byte>(size + 16, pinned: true);
        bytes = (byte*)Unsafe.AsPointer(ref memory[0]);
        writers = new int[(size / 2) + 1];
        readers = new int[(size / 2) + 1];
        written = new int[(size / 2) + 1];
        secondReaders = new int[order is null ? 0 : (size / 2) + 1];
    }

    public int Size { get; }

    /// <summary>Before a block's first instruction.</summary>
    /// <param name="counted">Where the block's accesses are counted.</param>
    public void Reset(PtxStatistics counted)
    {
        statistics = counted;
        new Span<uint>(bytes, (Size + 3) / 4).Fill(Poison);
        if (Math.Max(order?.Interval(0) ?? interval, fences) > MostCounted)
        {
            foreach (var counts in (ReadOnlySpan<int[]>)[writers, readers, secondReaders, written, published])
            {
                Array.Clear(counts);
            }

            (interval, fences) = (1, 0);
            order?.Restart();
        }

        order?.Reset();
        Array.ForEach(fencesOf, f => f.Clear());

        firstInterval = order is null ? ++interval : order.Interval(0);
    }

    /// <summary>At a barrier of all threads.</summary>
    public void Synchronize() => interval++;

    public byte* Read(ulong address, int count, int alignment, int warp)
    {
        var at = Locate(address, count, alignment);
        if (order is not null)
        {
            MarkReadInOrder(address, at, count, warp, order);
            return bytes + at;
        }

        var stamp = (interval * 64) + warp;
        if (count == 2 * Vector256<int>.Count && MarkRead(at / 2, stamp))
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
    public void Publish(int warp)
    {
        published[warp] = ++fences;
        if (order is not null)
        {
            fencesOf[warp].Add((fences, order.Interval(warp)));
        }
    }

    /// <summary>16 bytes, for a reader that sees only what was published by the warp that wrote it.</summary>
    public byte* ReadAsynchronously(ulong address, int warp)
    {
        const int Count = 16;
        var first = Locate(address, Count, Count) / 2;
        var (writer, fence) = (writers[first], written[first]);
        if (Vector256.EqualsAll(Vector256.Create(writers, first), Vector256.Create(writer))
            && Vector256.EqualsAll(Vector256.Create(written, first), Vector256.Create(fence)))
        {
            CheckPublished(address, writer, fence, warp);
        }
        else
        {
            for (var i = first; i < first + (Count / 2); i++)
            {
                CheckPublished(address, writers[i], written[i], warp);
            }
        }

        return Read(address, Count, Count, warp);
    }

    public byte* Write(ulong address, int count, int alignment, int warp)
    {
        var at = Locate(address, count, alignment);
        if (order is not null)
        {
            MarkWrittenInOrder(address, at, count, warp, order);
            return bytes + at;
        }

        var stamp = (interval * 64) + warp;
        if (count == 2 * Vector256<int>.Count && MarkWritten(at / 2, stamp))
        {
            return bytes + at;
        }

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
    [SkipLocalsInit]
    public void CountBanks(SharedAccess kind, ReadOnlySpan<ulong> addresses, uint mask, int count)
    {
        var unit = Math.Max(4, count);
        var (together, banks) = (Math.Min(32, 128 / unit), (ulong)(128 / unit));
        var shift = BitOperations.Log2((uint)unit);
        var (passes, extra) = (0, 0);
        Span<ulong> words = stackalloc ulong[32];
        for (var first = 0; first < addresses.Length; first += together)
        {
            var (used, conflicts) = (0u, false);
            for (var lane = first; lane < first + together && lane < addresses.Length; lane++)
            {
                if ((mask >> lane & 1) != 0)
                {
                    var word = addresses[lane] >> shift;
                    var bank = (int)(word & (banks - 1));
                    conflicts |= (used >> bank & 1) != 0 && words[bank] != word;
                    used |= 1u << bank;
                    words[bank] = word;
                }
            }

            if (used != 0)
            {
                passes++;
                extra += conflicts ? ExtraPasses(addresses.Slice(first, together), mask >> first, shift, banks) : 0;
            }
        }

        statistics.Count(kind, passes, extra);
    }

    /// <summary>The most different words of one bank, without the first.</summary>
    private static int ExtraPasses(ReadOnlySpan<ulong> addresses, uint mask, int shift, ulong banks)
    {
        var words = new HashSet<ulong>();
        for (var lane = 0; lane < addresses.Length; lane++)
        {
            if ((mask >> lane & 1) != 0)
            {
                words.Add(addresses[lane] >> shift);
            }
        }

        return words.CountBy(word => word & (banks - 1)).Max(bank => bank.Value) - 1;
    }

    private void CheckPublished(ulong address, int writer, int fence, int warp)
    {
        var (other, at) = (writer % 64, writer / 64);
        if (at >= firstInterval && (published[other] <= fence || (order is not null && other != warp && !IsFenceKnown(other, fence, warp, order))))
        {
            throw new PtxException($"shared address {address} is read without a fence.proxy.async after warp {other} wrote it");
        }
    }

    /// <summary>Whether the first fence behind a write comes before what a warp does now: one behind the barrier that tells of the write does not.</summary>
    private bool IsFenceKnown(int writer, int fence, int warp, BarrierOrder order)
    {
        var first = fencesOf[writer].Find(f => f.Fence > fence);
        return order.IsKnown(warp, writer, first.Interval);
    }

    /// <summary>What <see cref="Read"/> does for 16 bytes, unless some of them must not be read.</summary>
    private bool MarkRead(int first, int stamp)
    {
        var (writer, reader, now) = (Vector256.Create(writers, first), Vector256.Create(readers, first), Vector256.Create(interval * 64));
        var stamps = Vector256.Create(stamp);
        if (!Vector256.EqualsAll(Vector256.LessThan(writer, now) | Vector256.Equals(writer, stamps), Vector256<int>.AllBitsSet))
        {
            return false;
        }

        Vector256.ConditionalSelect(Vector256.LessThan(reader, now) | Vector256.Equals(reader, stamps), stamps, now + Vector256.Create(Many)).CopyTo(readers, first);
        return true;
    }

    /// <summary>What <see cref="Write"/> does for 16 bytes, unless some of them must not be written.</summary>
    private bool MarkWritten(int first, int stamp)
    {
        var (writer, reader, now, stamps) = (Vector256.Create(writers, first), Vector256.Create(readers, first), Vector256.Create(interval * 64), Vector256.Create(stamp));
        var byOthers = (Vector256.GreaterThanOrEqual(writer, now) & ~Vector256.Equals(writer, stamps))
            | (Vector256.GreaterThanOrEqual(reader, now) & ~Vector256.Equals(reader, stamps));
        if (byOthers != Vector256<int>.Zero)
        {
            return false;
        }

        stamps.CopyTo(writers, first);
        Vector256.Create(fences).CopyTo(written, first);
        return true;
    }

    private void MarkReadInOrder(ulong address, int at, int count, int warp, BarrierOrder order)
    {
        var (stamp, readersOfGroup) = ((order.Interval(warp) * 64) + warp, warp < Warpgroup.Warps ? readers : secondReaders);
        for (var i = at / 2; i <= (at + count - 1) / 2; i++)
        {
            CheckWriter(address, i, warp, order, "read");
            var reader = readersOfGroup[i];
            readersOfGroup[i] = reader == stamp || reader / 64 != stamp / 64 ? stamp : (stamp / 64 * 64) + Many;
        }
    }

    private void MarkWrittenInOrder(ulong address, int at, int count, int warp, BarrierOrder order)
    {
        var stamp = (order.Interval(warp) * 64) + warp;
        for (var i = at / 2; i <= (at + count - 1) / 2; i++)
        {
            CheckWriter(address, i, warp, order, "written");
            CheckReader(address, readers[i], 0, warp, order);
            CheckReader(address, secondReaders[i], Warpgroup.Warps, warp, order);
            writers[i] = stamp;
            written[i] = fences;
        }
    }

    private void CheckWriter(ulong address, int i, int warp, BarrierOrder order, string what)
    {
        var (writer, at) = (writers[i] % 64, writers[i] / 64);
        if (at >= firstInterval && writer != warp && !order.IsKnown(warp, writer, at))
        {
            throw new PtxException($"shared address {address} is {what} without a barrier after warp {writer} wrote it");
        }
    }

    /// <summary>Of several readers in a warpgroup any may be the one; they are in the same interval.</summary>
    private void CheckReader(ulong address, int stamp, int firstWarp, int warp, BarrierOrder order)
    {
        var (reader, at) = (stamp % 64, stamp / 64);
        if (at >= firstInterval)
        {
            var (first, end) = reader == Many ? (firstWarp, firstWarp + Warpgroup.Warps) : (reader, reader + 1);
            for (reader = first; reader < end; reader++)
            {
                if (reader != warp && !order.IsKnown(warp, reader, at))
                {
                    throw new PtxException($"shared address {address} is written without a barrier after warp {reader} read it");
                }
            }
        }
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
