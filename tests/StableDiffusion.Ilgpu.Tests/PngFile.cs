using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>
/// An 8-bit RGB PNG file, read with nothing but the PNG specification, so that what the image library writes is checked from outside.
/// </summary>
internal sealed class PngFile
{
    private PngFile(int width, int height, byte[] pixels, IReadOnlyList<(string Type, byte[] Data)> chunks) =>
        (Width, Height, Pixels, Chunks) = (width, height, pixels, chunks);

    public int Width { get; }

    public int Height { get; }

    /// <summary>Rows from the top, bytes R, G, B.</summary>
    public byte[] Pixels { get; }

    public IReadOnlyList<(string Type, byte[] Data)> Chunks { get; }

    /// <summary>The text of the chunk with this keyword, or null; compressed chunks do not count.</summary>
    public string? Text(string keyword)
    {
        foreach (var (type, data) in Chunks)
        {
            byte[] plain = [.. Encoding.Latin1.GetBytes(keyword), 0];
            byte[] international = [.. plain, 0, 0, 0, 0];
            if (type == "tEXt" && data.AsSpan().StartsWith(plain))
            {
                return Encoding.Latin1.GetString(data, plain.Length, data.Length - plain.Length);
            }

            if (type == "iTXt" && data.AsSpan().StartsWith(international))
            {
                return new UTF8Encoding(false, true).GetString(data, international.Length, data.Length - international.Length);
            }
        }

        return null;
    }

    public static PngFile Read(string path) => Parse(File.ReadAllBytes(path));

    public static PngFile Parse(ReadOnlySpan<byte> file)
    {
        Assert.Equal([0x89, .. "PNG\r\n\x1a\n"u8], file[..8].ToArray());
        var chunks = new List<(string Type, byte[] Data)>();
        for (var rest = file[8..]; !rest.IsEmpty;)
        {
            var length = BinaryPrimitives.ReadInt32BigEndian(rest);
            var type = Encoding.Latin1.GetString(rest[4..8]);
            Assert.True(
                Crc(rest[4..(8 + length)]) == BinaryPrimitives.ReadUInt32BigEndian(rest[(8 + length)..]), $"wrong CRC of chunk {type}");
            chunks.Add((type, rest[8..(8 + length)].ToArray()));
            rest = rest[(12 + length)..];
        }

        Assert.Equal("IHDR", chunks[0].Type);
        Assert.Equal("IEND", chunks[^1].Type);
        var header = chunks[0].Data;
        Assert.Equal([8, 2, 0, 0, 0], header[8..]); // 8 bits, RGB, deflate, the standard filters, not interlaced
        var (width, height) = (BinaryPrimitives.ReadInt32BigEndian(header), BinaryPrimitives.ReadInt32BigEndian(header.AsSpan(4)));
        byte[] packed = [.. chunks.Where(c => c.Type == "IDAT").SelectMany(c => c.Data)];
        return new PngFile(width, height, Unfilter(packed, 3 * width, height), chunks);
    }

    private static byte[] Unfilter(byte[] packed, int rowBytes, int height)
    {
        using var inflate = new ZLibStream(new MemoryStream(packed), CompressionMode.Decompress);
        var pixels = new byte[rowBytes * height];
        var row = new byte[1 + rowBytes];
        for (var y = 0; y < height; y++)
        {
            inflate.ReadExactly(row);
            for (var x = 0; x < rowBytes; x++)
            {
                int At(int dx, int dy) => x - dx < 0 || y - dy < 0 ? 0 : pixels[((y - dy) * rowBytes) + x - dx];
                var (left, above, corner) = (At(3, 0), At(0, 1), At(3, 1));
                var predicted = row[0] switch
                {
                    0 => 0,
                    1 => left,
                    2 => above,
                    3 => (left + above) / 2,
                    4 => Paeth(left, above, corner),
                    _ => throw new InvalidDataException($"filter {row[0]}"),
                };
                pixels[(y * rowBytes) + x] = (byte)(row[1 + x] + predicted);
            }
        }

        return pixels;
    }

    private static int Paeth(int left, int above, int corner)
    {
        var estimate = left + above - corner;
        var (a, b, c) = (Math.Abs(estimate - left), Math.Abs(estimate - above), Math.Abs(estimate - corner));
        return a <= b && a <= c ? left : b <= c ? above : corner;
    }

    private static uint Crc(ReadOnlySpan<byte> bytes)
    {
        var crc = uint.MaxValue;
        foreach (var b in bytes)
        {
            crc ^= b;
            for (var bit = 0; bit < 8; bit++)
            {
                crc = (crc >> 1) ^ ((crc & 1) * 0xEDB88320);
            }
        }

        return ~crc;
    }
}
