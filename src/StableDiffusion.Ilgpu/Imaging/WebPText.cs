using System.Buffers.Binary;

namespace StableDiffusion.Ilgpu.Imaging;

/// <summary>The texts of WebP files: EXIF fields, from their chunk of the RIFF container (RFC 9649).</summary>
internal static class WebPText
{
    private const int HeaderBytes = 12;
    private const int ChunkHeaderBytes = 8;

    /// <exception cref="InvalidDataException">The file is cut off or damaged.</exception>
    public static List<PictureText> Read(ReadOnlySpan<byte> file)
    {
        var end = BinaryPrimitives.ReadUInt32LittleEndian(file[4..]) + (long)ChunkHeaderBytes;
        if (end < HeaderBytes || end > file.Length)
        {
            throw new InvalidDataException("it is cut off, or damaged");
        }

        var texts = new List<PictureText>();
        for (var place = HeaderBytes; place < end;)
        {
            var length = end - place < ChunkHeaderBytes ? uint.MaxValue : BinaryPrimitives.ReadUInt32LittleEndian(file[(place + 4)..]);
            if (length > end - place - ChunkHeaderBytes)
            {
                throw new InvalidDataException("it is cut off, or damaged");
            }

            if (file.Slice(place, 4).SequenceEqual("EXIF"u8))
            {
                texts.AddRange(ExifText.Read(file.Slice(place + ChunkHeaderBytes, (int)length)));
            }

            // Chunks of odd length are followed by a byte of padding.
            place += ChunkHeaderBytes + (int)length + (int)(length & 1);
        }

        return texts;
    }
}
