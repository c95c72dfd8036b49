using System.Buffers.Binary;
using System.Text;

namespace StableDiffusion.Ilgpu.Imaging;

/// <summary>PNG files as a signature and chunks of type, data and check sum (PNG specification, third edition, section 5).</summary>
internal static class PngChunks
{
    private const int Overhead = 12;
    private static readonly uint[] CrcTable = MakeCrcTable();

    public static ReadOnlySpan<byte> Signature => [0x89, (byte)'P', (byte)'N', (byte)'G', (byte)'\r', (byte)'\n', 0x1a, (byte)'\n'];

    /// <summary>A chunk as it stands in a file.</summary>
    /// <param name="type">Four letters.</param>
    /// <param name="data">What the chunk holds.</param>
    public static byte[] Make(string type, ReadOnlySpan<byte> data)
    {
        var chunk = new byte[Overhead + data.Length];
        BinaryPrimitives.WriteInt32BigEndian(chunk, data.Length);
        Encoding.ASCII.GetBytes(type, chunk.AsSpan(4));
        data.CopyTo(chunk.AsSpan(8));
        BinaryPrimitives.WriteUInt32BigEndian(chunk.AsSpan(8 + data.Length), Crc(chunk.AsSpan(4, 4 + data.Length)));
        return chunk;
    }

    /// <summary>Type and data of every chunk up to the last one; what follows it is not looked at.</summary>
    /// <exception cref="InvalidDataException">The file is cut off or damaged.</exception>
    public static List<(string Type, ReadOnlyMemory<byte> Data)> Read(ReadOnlyMemory<byte> png)
    {
        if (!png.Span.StartsWith(Signature))
        {
            throw new InvalidDataException("it does not begin as a PNG file");
        }

        var chunks = new List<(string Type, ReadOnlyMemory<byte> Data)>();
        for (var rest = png[Signature.Length..]; ;)
        {
            var length = rest.Length < Overhead ? uint.MaxValue : BinaryPrimitives.ReadUInt32BigEndian(rest.Span);
            if (length > rest.Length - Overhead)
            {
                throw new InvalidDataException("it is cut off, or damaged");
            }

            var end = 8 + (int)length;
            var type = Encoding.Latin1.GetString(rest.Span[4..8]);
            if (Crc(rest.Span[4..end]) != BinaryPrimitives.ReadUInt32BigEndian(rest.Span[end..]))
            {
                throw new InvalidDataException($"it is damaged: the check sum of chunk {chunks.Count} is wrong");
            }

            chunks.Add((type, rest[8..end]));
            if (type == "IEND")
            {
                return chunks;
            }

            rest = rest[(end + 4)..];
        }
    }

    /// <summary>CRC-32 with the reflected polynomial 0xEDB88320, over a chunk's type and data.</summary>
    private static uint Crc(ReadOnlySpan<byte> bytes)
    {
        var crc = uint.MaxValue;
        foreach (var b in bytes)
        {
            crc = CrcTable[(byte)crc ^ b] ^ (crc >> 8);
        }

        return ~crc;
    }

    private static uint[] MakeCrcTable()
    {
        var table = new uint[256];
        for (var i = 0u; i < 256; i++)
        {
            var value = i;
            for (var bit = 0; bit < 8; bit++)
            {
                value = (value & 1) != 0 ? 0xEDB88320 ^ (value >> 1) : value >> 1;
            }

            table[i] = value;
        }

        return table;
    }
}
