using System.Buffers.Binary;

namespace StableDiffusion.Ilgpu.Imaging;

/// <summary>
/// What of a file the image library gets to see. It unpacks all of a PNG's texts and all pictures of an animation, of which nothing is asked here, and so
/// lets a small file take gigabytes and minutes. What is not understood stays: that is the library's to judge.
/// </summary>
internal static class PictureParts
{
    /// <summary>Most bytes of packed texts, which may unpack into a thousand times as many. Few pictures have as much, and some have their orientation there.</summary>
    public const int MostPackedTexts = 128 << 10;

    private const int PngOverhead = 12, WebPHeaderBytes = 12, WebPChunkHeaderBytes = 8;

    /// <summary>The size that a PNG's header chunk tells, in pixels, or null. The library allocates a row of it before it can be asked.</summary>
    public static (long Width, long Height)? SizeOfPng(ReadOnlySpan<byte> file) =>
        file.Length >= 24 && file[12..16].SequenceEqual("IHDR"u8)
            ? (BinaryPrimitives.ReadUInt32BigEndian(file[16..]), BinaryPrimitives.ReadUInt32BigEndian(file[20..])) : null;

    /// <summary>A PNG without the texts that are more than <see cref="MostPackedTexts"/>.</summary>
    public static ReadOnlySpan<byte> OfPng(ReadOnlySpan<byte> file)
    {
        var surplus = new List<(int Start, int End)>();
        var kept = 0L;
        for (var place = PngChunks.Signature.Length; file.Length - place >= PngOverhead;)
        {
            var length = BinaryPrimitives.ReadUInt32BigEndian(file[place..]);
            if (length > file.Length - place - PngOverhead)
            {
                break;
            }

            var end = place + PngOverhead + (int)length;
            if (IsPackedText(file.Slice(place + 4, 4), file.Slice(place + 8, (int)length)))
            {
                if (kept + length > MostPackedTexts)
                {
                    surplus.Add((place, end));
                }
                else
                {
                    kept += length;
                }
            }

            place = end;
        }

        return surplus.Count == 0 ? file : Without(file, surplus);
    }

    /// <summary>An <c>iTXt</c> chunk says behind its keyword whether it is packed.</summary>
    private static bool IsPackedText(ReadOnlySpan<byte> type, ReadOnlySpan<byte> data) => type.SequenceEqual("zTXt"u8)
        || (type.SequenceEqual("iTXt"u8) && data.IndexOf((byte)0) is >= 0 and var end && end + 1 < data.Length && data[end + 1] != 0);

    /// <summary>A WebP without the pictures after an animation's first one.</summary>
    public static ReadOnlySpan<byte> OfWebP(ReadOnlySpan<byte> file)
    {
        var surplus = new List<(int Start, int End)>();
        var hasFrame = false;

        // What stands behind the container is none of its chunks.
        var size = file.Length < WebPHeaderBytes ? 0 : BinaryPrimitives.ReadUInt32LittleEndian(file[4..]);
        var container = file[..(int)Math.Min(file.Length, WebPChunkHeaderBytes + (long)size)];
        for (var place = WebPHeaderBytes; container.Length - place >= WebPChunkHeaderBytes;)
        {
            // Chunks of odd length are followed by a byte of padding.
            var end = place + WebPChunkHeaderBytes + (long)BinaryPrimitives.ReadUInt32LittleEndian(container[(place + 4)..]);
            end += end & 1;
            if (end > container.Length)
            {
                break;
            }

            if (container.Slice(place, 4).SequenceEqual("ANMF"u8))
            {
                if (hasFrame)
                {
                    surplus.Add((place, (int)end));
                }

                hasFrame = true;
            }

            place = (int)end;
        }

        if (surplus.Count == 0)
        {
            return file;
        }

        var first = Without(file, surplus);
        BinaryPrimitives.WriteUInt32LittleEndian(first[4..], (uint)(size - (file.Length - first.Length)));
        return first;
    }

    private static Span<byte> Without(ReadOnlySpan<byte> file, List<(int Start, int End)> surplus)
    {
        var rest = new byte[file.Length - surplus.Sum(s => s.End - s.Start)];
        var (from, to) = (0, 0);
        foreach (var (start, end) in surplus.Append((file.Length, file.Length)))
        {
            file[from..start].CopyTo(rest.AsSpan(to));
            to += start - from;
            from = end;
        }

        return rest;
    }
}
