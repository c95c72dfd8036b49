using System.Buffers.Binary;
using System.IO.Compression;

namespace StableDiffusion.Ilgpu.Imaging;

/// <summary>PNG files of 8-bit RGB without the image library (PNG specification, third edition, sections 9 to 11).</summary>
internal static class PlainPng
{
    private const int Channels = 3;
    private const int Filters = 5;

    public static byte[] Encode(int width, int height, ReadOnlySpan<byte> pixels)
    {
        // Depth 8, colour type RGB, and the only methods of compression, filtering and no interlacing.
        byte[] header = [0, 0, 0, 0, 0, 0, 0, 0, 8, 2, 0, 0, 0];
        BinaryPrimitives.WriteInt32BigEndian(header, width);
        BinaryPrimitives.WriteInt32BigEndian(header.AsSpan(4), height);
        return [.. PngChunks.Signature, .. PngChunks.Make("IHDR", header), .. PngChunks.Make("IDAT", Compress(Channels * width, pixels)), .. PngChunks.Make("IEND", [])];
    }

    private static byte[] Compress(int pitch, ReadOnlySpan<byte> pixels)
    {
        using var packed = new MemoryStream();
        using (var zlib = new ZLibStream(packed, CompressionLevel.Optimal, leaveOpen: true))
        {
            var above = new byte[pitch].AsSpan();
            var (row, best) = (new byte[1 + pitch], new byte[1 + pitch]);
            for (; pixels.Length > 0; pixels = pixels[pitch..])
            {
                // What is left of a row should be close to nothing: the specification's section 12.7.
                var least = long.MaxValue;
                for (var filter = 0; filter < Filters; filter++)
                {
                    if (Filter(filter, pixels[..pitch], above, row) is var size && size < least)
                    {
                        least = size;
                        (row, best) = (best, row);
                    }
                }

                zlib.Write(best);
                pixels[..pitch].CopyTo(above);
            }
        }

        return packed.ToArray();
    }

    /// <returns>The sum of the filtered bytes' distances from 0.</returns>
    private static long Filter(int filter, ReadOnlySpan<byte> values, ReadOnlySpan<byte> above, byte[] target)
    {
        target[0] = (byte)filter;
        var sum = 0L;
        for (var i = 0; i < values.Length; i++)
        {
            int left = i < Channels ? 0 : values[i - Channels], corner = i < Channels ? 0 : above[i - Channels];
            var foreseen = filter switch
            {
                0 => 0,
                1 => left,
                2 => above[i],
                3 => (left + above[i]) / 2,
                _ => Paeth(left, above[i], corner),
            };
            var rest = (byte)(values[i] - foreseen);
            target[1 + i] = rest;
            sum += Math.Min(rest, 256 - rest);
        }

        return sum;
    }

    /// <summary>Of the neighbours the one nearest to left + above - corner.</summary>
    private static int Paeth(int left, int above, int corner)
    {
        var (toLeft, toAbove, toCorner) = (Math.Abs(above - corner), Math.Abs(left - corner), Math.Abs(left + above - (2 * corner)));
        return toLeft <= toAbove && toLeft <= toCorner ? left : toAbove <= toCorner ? above : corner;
    }
}
