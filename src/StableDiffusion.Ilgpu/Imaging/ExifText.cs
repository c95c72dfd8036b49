using System.Buffers.Binary;
using System.Text;

namespace StableDiffusion.Ilgpu.Imaging;

/// <summary>The texts of an EXIF block, which is a TIFF file of one directory and one more that it points to.</summary>
internal static class ExifText
{
    private const ushort ExifDirectory = 0x8769;
    private const int EntryBytes = 12;
    private const int CodeBytes = 8;

    private static readonly Dictionary<ushort, string> Fields = new()
    {
        [0x010e] = "ImageDescription",
        [0x010f] = "Make",
        [0x0110] = "Model",
        [0x9286] = "UserComment",
    };

    public static ReadOnlySpan<byte> Prefix => "Exif\0\0"u8;

    /// <param name="block">With or without <see cref="Prefix"/>.</param>
    /// <exception cref="InvalidDataException">A directory or a text lies outside of the block, or the texts are many times as large as it.</exception>
    public static List<PictureText> Read(ReadOnlySpan<byte> block)
    {
        var tiff = block.StartsWith(Prefix) ? block[Prefix.Length..] : block;
        var texts = new List<PictureText>();
        var isBig = tiff.StartsWith("MM\0*"u8);
        if (!isBig && !tiff.StartsWith("II*\0"u8))
        {
            throw Damaged();
        }

        // Entries may name the same bytes, and honest ones do; thousands of them would make gigabytes of a small file.
        var budget = (long)Fields.Count * tiff.Length;
        if (ReadDirectory(tiff, isBig, Int32(tiff, 4, isBig), texts, ref budget) is { } next)
        {
            ReadDirectory(tiff, isBig, next, texts, ref budget);
        }

        return texts;
    }

    /// <returns>Where the directory of EXIF's own fields begins, if this one points to it.</returns>
    private static uint? ReadDirectory(ReadOnlySpan<byte> tiff, bool isBig, uint place, List<PictureText> texts, ref long budget)
    {
        uint? next = null;
        var count = Int16(tiff, place, isBig);
        for (var i = 0; i < count; i++)
        {
            var entry = place + 2 + ((long)i * EntryBytes);
            var tag = Int16(tiff, entry, isBig);
            if (tag == ExifDirectory)
            {
                next = Int32(tiff, entry + 8, isBig);
            }
            else if (Fields.TryGetValue(tag, out var name))
            {
                // Up to four bytes stand in the entry itself. Both types of text have one byte an element.
                var length = Int32(tiff, entry + 4, isBig);
                budget = length <= budget ? budget - length : throw Damaged();
                var bytes = Part(tiff, length <= 4 ? entry + 8 : Int32(tiff, entry + 8, isBig), length);
                texts.Add(new(name, name == "UserComment" ? UserComment(bytes, isBig) : PngText.Decode(bytes.TrimEnd((byte)0))));
            }
        }

        return next;
    }

    /// <summary>A text behind eight bytes that name its code.</summary>
    private static string UserComment(ReadOnlySpan<byte> bytes, bool isBig)
    {
        if (bytes.Length < CodeBytes)
        {
            return PngText.Decode(bytes.TrimEnd((byte)0));
        }

        var text = bytes[CodeBytes..];
        return !bytes.StartsWith("UNICODE\0"u8)
            ? PngText.Decode((bytes.StartsWith("ASCII\0\0\0"u8) || bytes[0] == 0 ? text : bytes).TrimEnd((byte)0))
            : text switch
            {
                [0xfe, 0xff, ..] => Encoding.BigEndianUnicode.GetString(text[2..]),
                [0xff, 0xfe, ..] => Encoding.Unicode.GetString(text[2..]),
                _ => (IsBigEndian(text, isBig) ? Encoding.BigEndianUnicode : Encoding.Unicode).GetString(text),
            };
    }

    // The order should be the block's, but a common writer always takes the big one. Settings are mostly letters of one byte.
    private static bool IsBigEndian(ReadOnlySpan<byte> text, bool otherwise)
    {
        var (first, second) = (0, 0);
        for (var i = 0; i + 1 < text.Length; i += 2)
        {
            first += text[i] == 0 ? 1 : 0;
            second += text[i + 1] == 0 ? 1 : 0;
        }

        return first == second ? otherwise : first > second;
    }

    private static ushort Int16(ReadOnlySpan<byte> tiff, long place, bool isBig)
    {
        var bytes = Part(tiff, place, 2);
        return isBig ? BinaryPrimitives.ReadUInt16BigEndian(bytes) : BinaryPrimitives.ReadUInt16LittleEndian(bytes);
    }

    private static uint Int32(ReadOnlySpan<byte> tiff, long place, bool isBig)
    {
        var bytes = Part(tiff, place, 4);
        return isBig ? BinaryPrimitives.ReadUInt32BigEndian(bytes) : BinaryPrimitives.ReadUInt32LittleEndian(bytes);
    }

    private static ReadOnlySpan<byte> Part(ReadOnlySpan<byte> tiff, long place, long length) =>
        place + length <= tiff.Length ? tiff.Slice((int)place, (int)length) : throw Damaged();

    private static InvalidDataException Damaged() => new("its EXIF data are damaged");
}
