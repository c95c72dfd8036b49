using System.Buffers.Binary;
using System.IO.Compression;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu.Tests.Samples;

/// <summary>PNG files of any depth, written with nothing but the PNG specification.</summary>
internal static class RawPng
{
    private const int HeaderAt = 12;

    /// <param name="width">Width in pixels.</param>
    /// <param name="height">Height in pixels.</param>
    /// <param name="bits">1, 8 or 16 a channel.</param>
    /// <param name="colour">The colour type: 0 grey, 2 RGB.</param>
    /// <param name="value">The value of x, y, channel, 0 to 255; 16 bits repeat it, 1 bit takes its highest.</param>
    public static byte[] Write(int width, int height, int bits, int colour, Func<int, int, int, byte> value)
    {
        var channels = colour == 0 ? 1 : 3;
        var rows = new MemoryStream();
        for (var y = 0; y < height; y++)
        {
            rows.WriteByte(0);
            if (bits == 1)
            {
                for (var x = 0; x < width; x += 8)
                {
                    var packed = 0;
                    for (var bit = 0; bit < 8 && x + bit < width; bit++)
                    {
                        packed |= (value(x + bit, y, 0) >> 7) << (7 - bit);
                    }

                    rows.WriteByte((byte)packed);
                }

                continue;
            }

            for (var i = 0; i < width * channels; i++)
            {
                for (var n = 0; n < bits / 8; n++)
                {
                    rows.WriteByte(value(i / channels, y, i % channels));
                }
            }
        }

        var packedRows = new MemoryStream();
        using (var deflate = new ZLibStream(packedRows, CompressionLevel.Optimal, leaveOpen: true))
        {
            deflate.Write(rows.ToArray());
        }

        var header = new byte[13];
        BinaryPrimitives.WriteInt32BigEndian(header, width);
        BinaryPrimitives.WriteInt32BigEndian(header.AsSpan(4), height);
        (header[8], header[9]) = ((byte)bits, (byte)colour);
        return [0x89, .. "PNG\r\n\x1a\n"u8, .. Chunk("IHDR"u8, header), .. Chunk("IDAT"u8, packedRows.ToArray()), .. Chunk("IEND"u8, [])];
    }

    /// <summary>The same file with another size in its header.</summary>
    public static byte[] WithSize(byte[] png, int width, int height)
    {
        var header = png[(HeaderAt + 4)..(HeaderAt + 17)];
        BinaryPrimitives.WriteInt32BigEndian(header, width);
        BinaryPrimitives.WriteInt32BigEndian(header.AsSpan(4), height);
        return [.. png[..(HeaderAt - 4)], .. Chunk("IHDR"u8, header), .. png[(HeaderAt + 21)..]];
    }

    private static byte[] Chunk(ReadOnlySpan<byte> type, ReadOnlySpan<byte> data)
    {
        var chunk = new byte[12 + data.Length];
        BinaryPrimitives.WriteInt32BigEndian(chunk, data.Length);
        type.CopyTo(chunk.AsSpan(4));
        data.CopyTo(chunk.AsSpan(8));
        BinaryPrimitives.WriteUInt32BigEndian(chunk.AsSpan(8 + data.Length), Crc32.Of(chunk.AsSpan(4, 4 + data.Length)));
        return chunk;
    }
}
