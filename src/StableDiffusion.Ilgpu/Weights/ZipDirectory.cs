using System.Buffers.Binary;
using System.Text;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>An entry as the archive's directory describes it; offset of its local header from the start of the file.</summary>
internal sealed record ZipEntry(string Name, int Method, bool IsEncrypted, uint Crc, long StoredLength, long Length, long HeaderOffset);

/// <summary>
/// The directory of a zip archive (PKWARE's APPNOTE 6.3, with zip64), read from the end of the file: which entries there are, and where
/// the bytes of one that is stored without compression lie. All lengths and offsets are held against the file's length.
/// </summary>
internal sealed class ZipDirectory
{
    /// <summary>More than the directory of any model file; a damaged length must not make us allocate what it says.</summary>
    public const long LargestDirectory = 100_000_000;

    private const uint EndSignature = 0x06054b50, End64Signature = 0x06064b50, Locator64Signature = 0x07064b50;
    private const uint EntrySignature = 0x02014b50, LocalSignature = 0x04034b50;
    private const int EndBytes = 22, Locator64Bytes = 20, End64Bytes = 56, EntryBytes = 46, LocalBytes = 30;

    /// <summary>Of an entry, its dictionary's share and its name, without the name's letters.</summary>
    private const int RecordBytes = 256;

    private readonly string path;
    private readonly long fileLength;
    private readonly Action<long, byte[]> read;
    private readonly Dictionary<string, ZipEntry> entries = [];

    private ZipDirectory(string path, long fileLength, Action<long, byte[]> read) =>
        (this.path, this.fileLength, this.read) = (path, fileLength, read);

    public IReadOnlyDictionary<string, ZipEntry> Entries => entries;

    /// <summary>Where the directory starts; every entry's bytes end before.</summary>
    public long Start { get; private set; }

    /// <param name="path">What messages call the file.</param>
    /// <param name="fileLength">The file's length in bytes.</param>
    /// <param name="read">Fills a buffer with the bytes at an offset of the file.</param>
    /// <param name="budget">Taken from for every entry.</param>
    /// <exception cref="StableDiffusionException">The directory is damaged or contradicts the file's length.</exception>
    public static ZipDirectory Read(string path, long fileLength, Action<long, byte[]> read, AllocationBudget budget)
    {
        var directory = new ZipDirectory(path, fileLength, read);
        var (offset, length, count) = directory.FindDirectory();
        directory.Start = offset;
        directory.ReadEntries(directory.Bytes(offset, (int)length), count, budget);
        return directory;
    }

    /// <summary>Where an entry's bytes lie in the file.</summary>
    /// <exception cref="StableDiffusionException">The entry is compressed, or its two headers contradict each other.</exception>
    public long OffsetOf(ZipEntry entry)
    {
        if (entry.IsEncrypted || entry.Method != 0)
        {
            throw Error(
                $"{entry.Name} is {(entry.IsEncrypted ? "encrypted" : "compressed")}; torch.save stores it plainly, and only that is read");
        }

        if (entry.Length != entry.StoredLength)
        {
            throw Error($"{entry.Name} is stored plainly but has two lengths, {entry.StoredLength} and {entry.Length}");
        }

        if (entry.HeaderOffset > Start - LocalBytes)
        {
            throw Error($"{entry.Name} is said to start at {entry.HeaderOffset}, behind all entries; the file is damaged");
        }

        var header = Bytes(entry.HeaderOffset, LocalBytes);
        var nameLength = Int16(header, 26);
        var start = entry.HeaderOffset + LocalBytes + nameLength + Int16(header, 28);
        if (Int32(header, 0) != LocalSignature || Int16(header, 8) != entry.Method || start > Start || entry.Length > Start - start
            || Text(Bytes(entry.HeaderOffset + LocalBytes, nameLength)) != entry.Name)
        {
            throw Error($"{entry.Name} does not lie where the archive's directory says; the file is damaged");
        }

        return start;
    }

    private (long Offset, long Length, long Count) FindDirectory()
    {
        // The end record is followed by a comment of up to 64 KiB, which torch.save does not write.
        var tail = Bytes(Math.Max(0, fileLength - EndBytes - ushort.MaxValue), (int)Math.Min(fileLength, EndBytes + ushort.MaxValue));
        var at = tail.Length - EndBytes;
        while (at >= 0 && !(Int32(tail, at) == EndSignature && Int16(tail, at + 20) == tail.Length - at - EndBytes))
        {
            at--;
        }

        if (at < 0)
        {
            throw Error("is a zip file without its directory at the end; the file is truncated or damaged");
        }

        var end = fileLength - tail.Length + at;
        long count = Int16(tail, at + 10), length = Int32(tail, at + 12), offset = Int32(tail, at + 16);
        if (end >= Locator64Bytes && Bytes(end - Locator64Bytes, Locator64Bytes) is var locator && Int32(locator, 0) == Locator64Signature)
        {
            var end64 = Int64(locator, 8);
            end = end64 >= 0 && end64 <= end - Locator64Bytes - End64Bytes ? end64 : throw Damaged();
            var record = Bytes(end64, End64Bytes);
            if (Int32(record, 0) != End64Signature)
            {
                throw Damaged();
            }

            (count, length, offset) = (Int64(record, 32), Int64(record, 40), Int64(record, 48));
        }

        return length is >= 0 and <= LargestDirectory && offset >= 0 && offset <= end - length ? (offset, length, count) : throw Damaged();
    }

    private void ReadEntries(byte[] directory, long count, AllocationBudget budget)
    {
        var at = 0;
        for (; at <= directory.Length - EntryBytes && Int32(directory, at) == EntrySignature; count--)
        {
            int nameLength = Int16(directory, at + 28), extraLength = Int16(directory, at + 30), commentLength = Int16(directory, at + 32);
            var next = at + EntryBytes + nameLength + extraLength + commentLength;
            if (next > directory.Length)
            {
                throw Damaged();
            }

            budget.Take(RecordBytes + (2 * nameLength));
            var name = Text(directory.AsSpan(at + EntryBytes, nameLength));
            var sizes = Sizes(directory, at, directory.AsSpan(at + EntryBytes + nameLength, extraLength));
            var entry = new ZipEntry(
                name, Int16(directory, at + 10), (Int16(directory, at + 8) & 1) != 0, Int32(directory, at + 16), sizes.Stored, sizes.Length,
                sizes.Header);
            if (!entries.TryAdd(name, entry))
            {
                throw Error($"the archive's directory names {name} twice");
            }

            at = next;
        }

        if (at != directory.Length || count != 0)
        {
            throw Damaged();
        }
    }

    /// <summary>The fields that have moved to the zip64 extra field are all ones in their old places.</summary>
    private (long Stored, long Length, long Header) Sizes(byte[] directory, int at, ReadOnlySpan<byte> extra)
    {
        const ushort zip64 = 1;
        ReadOnlySpan<byte> large = [];
        while (extra.Length >= 4)
        {
            var size = BinaryPrimitives.ReadUInt16LittleEndian(extra[2..]);
            if (size > extra.Length - 4)
            {
                throw Damaged();
            }

            large = BinaryPrimitives.ReadUInt16LittleEndian(extra) == zip64 ? extra.Slice(4, size) : large;
            extra = extra[(4 + size)..];
        }

        var length = Large(Int32(directory, at + 24), ref large);
        var stored = Large(Int32(directory, at + 20), ref large);
        return (stored, length, Large(Int32(directory, at + 42), ref large));
    }

    private long Large(uint value, ref ReadOnlySpan<byte> large)
    {
        if (value != uint.MaxValue)
        {
            return value;
        }

        if (large.Length < sizeof(long) || BinaryPrimitives.ReadInt64LittleEndian(large) is var moved && moved < 0)
        {
            throw Damaged();
        }

        large = large[sizeof(long)..];
        return moved;
    }

    private byte[] Bytes(long offset, int count)
    {
        var bytes = new byte[count];
        read(offset, bytes);
        return bytes;
    }

    private static string Text(ReadOnlySpan<byte> bytes) => Encoding.UTF8.GetString(bytes);

    private static int Int16(byte[] bytes, int at) => BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(at));

    private static uint Int32(byte[] bytes, int at) => BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(at));

    private static long Int64(byte[] bytes, int at) => BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(at));

    private StableDiffusionException Damaged() => Error("the archive's directory contradicts itself or the file's length; the file is damaged");

    private StableDiffusionException Error(string problem) => new($"{path}: {problem}");
}
