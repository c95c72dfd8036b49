using System.Text;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu.Tests.Samples;

/// <summary>
/// Writes zip archives as PyTorch's writer does: stored, each entry's bytes at a multiple of 64, lengths in a data descriptor, and the
/// end of the directory as zip64. Entries can be given wrong headers.
/// </summary>
internal sealed class ZipWriter
{
    private const int Alignment = 64;

    private readonly List<byte> stream = [];
    private readonly List<byte> directory = [];
    private int count;

    /// <summary>Whether entries of the directory keep their lengths and offset in the zip64 extra field.</summary>
    public bool LargeEntries { get; init; }

    /// <param name="name">The entry's name.</param>
    /// <param name="bytes">What is written, as the method says.</param>
    /// <param name="method">0: stored; 8: deflated.</param>
    /// <param name="length">The length that the headers give; null: that of the bytes.</param>
    /// <param name="stored">The stored length that the headers give; null: that of the bytes.</param>
    /// <param name="flags">General purpose flags; bit 3: a data descriptor follows.</param>
    /// <param name="offset">The offset that the directory gives; null: the right one.</param>
    /// <param name="crc">The checksum that the headers give; null: the right one.</param>
    /// <param name="localName">The name in the local header; null: the same.</param>
    public ZipWriter Add(
        string name, byte[] bytes, int method = 0, long? length = null, long? stored = null, int flags = 8, long? offset = null,
        uint? crc = null, string? localName = null)
    {
        var start = (long)stream.Count;
        var local = Encoding.UTF8.GetBytes(localName ?? name);
        var padding = (int)(-(start + 30 + local.Length + 4) & (Alignment - 1));
        Write(stream, 0x04034b50u, (ushort)20, (ushort)flags, (ushort)method, 0u, 0u, 0u, 0u, (ushort)local.Length, (ushort)(4 + padding));
        stream.AddRange(local);
        stream.AddRange("FB"u8);
        Write(stream, (ushort)padding);
        stream.AddRange(Enumerable.Repeat((byte)'Z', padding).ToArray());
        stream.AddRange(bytes);
        var checksum = crc ?? Crc32.Of(bytes);
        Write(stream, 0x08074b50u, checksum, (uint)bytes.Length, (uint)bytes.Length);

        var text = Encoding.UTF8.GetBytes(name);
        var (place, whole, packed) = (offset ?? start, length ?? bytes.Length, stored ?? bytes.Length);
        var large = LargeEntries || place >= uint.MaxValue || whole >= uint.MaxValue || packed >= uint.MaxValue;
        Write(
            directory, 0x02014b50u, (ushort)0, (ushort)20, (ushort)flags, (ushort)method, 0u, checksum,
            large ? uint.MaxValue : (uint)packed, large ? uint.MaxValue : (uint)whole, (ushort)text.Length, (ushort)(large ? 28 : 0), (ushort)0,
            (ushort)0, (ushort)0, 0u, large ? uint.MaxValue : (uint)place);
        directory.AddRange(text);
        if (large)
        {
            Write(directory, (ushort)1, (ushort)24, whole, packed, place);
        }

        count++;
        return this;
    }

    /// <summary>The archive.</summary>
    /// <param name="comment">Behind the end record.</param>
    /// <param name="entries">The number of entries that the end record gives; null: the right one.</param>
    public byte[] ToArray(string comment = "", long? entries = null)
    {
        var start = (long)stream.Count;
        stream.AddRange(directory);
        var end = (long)stream.Count;
        var number = entries ?? count;
        Write(stream, 0x06064b50u, 44L, (ushort)0x31e, (ushort)45, 0u, 0u, number, number, (long)directory.Count, start);
        Write(stream, 0x07064b50u, 0u, end, 1u);
        Write(
            stream, 0x06054b50u, (ushort)0, (ushort)0, (ushort)number, (ushort)number, (uint)directory.Count, (uint)start,
            (ushort)comment.Length);
        stream.AddRange(Encoding.ASCII.GetBytes(comment));
        return [.. stream];
    }

    private static void Write(List<byte> stream, params object[] fields)
    {
        foreach (var field in fields)
        {
            stream.AddRange(field switch
            {
                ushort value => BitConverter.GetBytes(value),
                uint value => BitConverter.GetBytes(value),
                _ => BitConverter.GetBytes((long)field),
            });
        }
    }
}
