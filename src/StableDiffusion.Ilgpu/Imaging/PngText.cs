using System.Buffers.Binary;
using System.Text;

namespace StableDiffusion.Ilgpu.Imaging;

/// <summary>
/// Text chunks of PNG files (PNG specification, third edition, section 11.3.3). The image library compresses long texts,
/// which part of the tools that read the parameters do not expect; so this writes them plainly.
/// </summary>
internal static class PngText
{
    private const int SignatureLength = 8;
    private const int HeaderChunkLength = 25;
    private static readonly uint[] CrcTable = MakeCrcTable();

    /// <summary>
    /// Puts a text behind the header chunk: <c>tEXt</c> where Latin-1 can hold it, else <c>iTXt</c>, as Python's imaging library
    /// chooses; both uncompressed.
    /// </summary>
    public static byte[] Insert(ReadOnlySpan<byte> png, string keyword, string text)
    {
        const int place = SignatureLength + HeaderChunkLength;
        return [.. png[..place], .. Chunk(keyword, text), .. png[place..]];
    }

    private static byte[] Chunk(string keyword, string text)
    {
        // In front of an iTXt text: not compressed, compression method 0, no language, no translated keyword.
        var latin1 = text.All(c => c <= '\xff');
        byte[] typeAndData = latin1
            ? [.. "tEXt"u8, .. Encoding.Latin1.GetBytes(keyword), 0, .. Encoding.Latin1.GetBytes(text)]
            : [.. "iTXt"u8, .. Encoding.Latin1.GetBytes(keyword), 0, 0, 0, 0, 0, .. Encoding.UTF8.GetBytes(text)];

        var chunk = new byte[8 + typeAndData.Length];
        BinaryPrimitives.WriteInt32BigEndian(chunk, typeAndData.Length - 4);
        typeAndData.CopyTo(chunk, 4);
        BinaryPrimitives.WriteUInt32BigEndian(chunk.AsSpan(4 + typeAndData.Length), Crc(typeAndData));
        return chunk;
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
