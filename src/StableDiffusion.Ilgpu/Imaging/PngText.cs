using System.IO.Compression;
using System.Text;

namespace StableDiffusion.Ilgpu.Imaging;

/// <summary>
/// Text chunks of PNG files (PNG specification, third edition, section 11.3.3). The image library compresses long texts,
/// which part of the tools that read the parameters do not expect; so this writes them plainly.
/// </summary>
internal static class PngText
{
    /// <summary>Most bytes of all texts of a picture, unpacked: a small file must not decide how much is allocated.</summary>
    public const int MostBytes = 64 << 20;

    private const int HeaderChunkLength = 25;
    private static readonly UTF8Encoding StrictUtf8 = new(false, throwOnInvalidBytes: true);

    /// <summary>
    /// Puts a text behind the header chunk: <c>tEXt</c> where Latin-1 can hold it, else <c>iTXt</c>, as Python's imaging library
    /// chooses; both uncompressed.
    /// </summary>
    public static byte[] Insert(ReadOnlySpan<byte> png, string keyword, string text)
    {
        var place = PngChunks.Signature.Length + HeaderChunkLength;
        return [.. png[..place], .. Chunk(keyword, text), .. png[place..]];
    }

    /// <summary>A text as a chunk.</summary>
    public static byte[] Chunk(string keyword, string text)
    {
        byte[] start = [.. Encoding.Latin1.GetBytes(keyword), 0];

        // In front of an iTXt text: not compressed, compression method 0, no language, no translated keyword.
        return IsPlain(text)
            ? PngChunks.Make("tEXt", [.. start, .. Encoding.Latin1.GetBytes(text)])
            : PngChunks.Make("iTXt", [.. start, 0, 0, 0, 0, .. Encoding.UTF8.GetBytes(text)]);
    }

    /// <summary>The texts of a file's chunks, plain or packed, in their order.</summary>
    /// <exception cref="InvalidDataException">A text chunk is damaged, or the texts are larger than any tool writes them.</exception>
    public static List<PictureText> Read(IEnumerable<(string Type, ReadOnlyMemory<byte> Data)> chunks)
    {
        var texts = new List<PictureText>();
        var budget = MostBytes;
        foreach (var (type, data) in chunks)
        {
            switch (type)
            {
                case "tEXt":
                    var (keyword, plain) = Split(data, type);
                    Add(keyword, plain, isUtf8: false);
                    break;
                case "zTXt":
                    (keyword, var packed) = Split(data, type);
                    Add(keyword, Inflate(packed[Math.Min(1, packed.Length)..], budget), isUtf8: false);
                    break;
                case "iTXt":
                    (keyword, var rest) = Split(data, type);
                    var isPacked = rest.Length >= 2 && rest.Span[0] != 0;
                    var (_, named) = Split(rest[Math.Min(2, rest.Length)..], type);
                    var (_, text) = Split(named, type);
                    Add(keyword, isPacked ? Inflate(text, budget) : text, isUtf8: true);
                    break;
                default:
                    break;
            }
        }

        return texts;

        void Add(string keyword, ReadOnlyMemory<byte> text, bool isUtf8)
        {
            budget -= text.Length;
            texts.Add(new(keyword, isUtf8 ? Encoding.UTF8.GetString(text.Span) : Decode(text.Span)));
        }
    }

    /// <summary>A text as UTF-8 where it is that, as stable-diffusion.cpp writes into Latin-1's chunks; else Latin-1.</summary>
    public static string Decode(ReadOnlySpan<byte> text)
    {
        try
        {
            return StrictUtf8.GetString(text);
        }
        catch (DecoderFallbackException)
        {
            return Encoding.Latin1.GetString(text);
        }
    }

    // Latin-1 that reads as UTF-8 would come back as another text.
    private static bool IsPlain(string text) =>
        text.All(c => c is > '\0' and <= '\xff') && (Ascii.IsValid(text) || Decode(Encoding.Latin1.GetBytes(text)) == text);

    private static (string Before, ReadOnlyMemory<byte> After) Split(ReadOnlyMemory<byte> data, string type)
    {
        var end = data.Span.IndexOf((byte)0);
        return end >= 0
            ? (Encoding.Latin1.GetString(data.Span[..end]), data[(end + 1)..])
            : throw new InvalidDataException($"it is damaged: a {type} chunk has no keyword");
    }

    private static ReadOnlyMemory<byte> Inflate(ReadOnlyMemory<byte> packed, int most)
    {
        using var inflate = new ZLibStream(new MemoryStream(packed.ToArray()), CompressionMode.Decompress);
        using var text = new MemoryStream();
        var buffer = new byte[1 << 16];
        for (int count; (count = inflate.Read(buffer)) > 0;)
        {
            if (text.Length + count > most)
            {
                throw new InvalidDataException($"its texts have more than {MostBytes >> 20} MiB");
            }

            text.Write(buffer, 0, count);
        }

        return text.ToArray();
    }
}
