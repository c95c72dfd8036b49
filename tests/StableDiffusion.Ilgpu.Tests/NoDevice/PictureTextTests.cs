using System.IO.Compression;
using System.Text;
using ImageMagick;
using StableDiffusion.Ilgpu.Imaging;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>The texts of PNG, JPEG and WebP files; the latter two written by the image library.</summary>
public sealed class PictureTextTests : IDisposable
{
    private const string Settings = "a cat, 猫\nNegative prompt: dark\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 8x8";
    private const int DamagedFiles = 20_000;

    private readonly TemporaryFolder folder = new();

    public static TheoryData<string> Formats => ["plain", "zTXt", "iTXt packed", "jpeg", "jpeg big endian", "webp"];

    [Theory]
    [MemberData(nameof(Formats))]
    public void Settings_of_every_format_are_read(string format)
    {
        var read = PictureSettings.Read(Write(Make(format, Settings)));
        var isLatin1 = format == "zTXt";
        Assert.Equal((isLatin1 ? "a cat, ?" : "a cat, 猫", "dark", "8x8"), (read.Prompt, read.NegativePrompt, read["Size"]));
    }

    [Theory]
    [InlineData("café")]
    [InlineData("Ã©")]
    [InlineData("Â£ \r\n Ã¤")]
    [InlineData("猫")]
    public void Texts_come_back_whatever_their_letters(string text) =>
        Assert.Equal(text, Assert.Single(PictureText.ReadAll(PngWriter.Encode(8, 8, new byte[192], text))).Text);

    [Fact]
    public void Utf8_in_a_chunk_for_latin1_is_read_as_utf8()
    {
        var chunk = PngChunks.Make("tEXt", [.. "parameters\0"u8, .. "café 猫"u8]);
        Assert.Equal("café 猫", Assert.Single(PictureText.ReadAll(WithChunk(chunk))).Text);
    }

    /// <summary>Where no letter tells the order of bytes, it is the block's; a code of zeros says nothing.</summary>
    [Theory]
    [InlineData("UNICODE\0", false, "猫犬")]
    [InlineData("UNICODE\0", true, "猫犬")]
    [InlineData("UNICODE\0", false, "a cat")]
    [InlineData("ASCII\0\0\0", false, "a cat")]
    [InlineData("\0\0\0\0\0\0\0\0", true, "a cat")]
    public void Comments_of_exif_blocks_have_their_code_in_front(string code, bool isBig, string text)
    {
        var letters = (code[0], isBig) switch
        {
            ('U', true) => Encoding.BigEndianUnicode.GetBytes(text),
            ('U', false) => Encoding.Unicode.GetBytes(text),
            _ => Encoding.ASCII.GetBytes(text),
        };
        byte[] comment = [.. Encoding.ASCII.GetBytes(code), .. letters];
        byte[] Short(int value) => isBig ? [(byte)(value >> 8), (byte)value] : [(byte)value, (byte)(value >> 8)];
        byte[] Long(int value) => isBig ? [0, 0, .. Short(value)] : [.. Short(value), 0, 0];

        // One directory of one entry, UserComment of type UNDEFINED, and the comment behind it.
        byte[] block =
        [
            .. isBig ? "MM\0*"u8 : "II*\0"u8, .. Long(8), .. Short(1), .. Short(0x9286), .. Short(7), .. Long(comment.Length), .. Long(26), .. Long(0),
            .. comment,
        ];
        Assert.Equal(new PictureText("UserComment", text), Assert.Single(ExifText.Read(block)));
    }

    /// <summary>Thousands of entries that name the same bytes would be gigabytes of text.</summary>
    [Fact]
    public void Exif_texts_that_are_many_times_their_block_are_refused()
    {
        Assert.Equal(2, ExifText.Read(Block(entries: 2, bytes: 40, apart: 40)).Count);

        // Writers store a text once that two fields have.
        Assert.Equal(2, ExifText.Read(Block(entries: 2, bytes: 1000, apart: 0)).Count);
        Assert.Throws<InvalidDataException>(() => ExifText.Read(Block(entries: 5, bytes: 1000, apart: 0)));

        // One directory of descriptions, and their letters behind it.
        static byte[] Block(int entries, int bytes, int apart)
        {
            var start = 8 + 2 + (12 * entries);
            byte[] Long(int value) => [(byte)value, (byte)(value >> 8), 0, 0];
            return
            [
                .. "II*\0"u8, .. Long(8), (byte)entries, 0,
                .. Enumerable.Range(0, entries).SelectMany(i => (byte[])[0x0e, 0x01, 2, 0, .. Long(bytes), .. Long(start + (i * apart))]),
                .. Enumerable.Repeat((byte)'a', bytes + ((entries - 1) * apart)),
            ];
        }
    }

    [Fact]
    public void A_text_that_unpacks_without_end_is_refused()
    {
        foreach (var chunk in new[]
        {
            PngChunks.Make("zTXt", [.. "parameters\0\0"u8, .. Pack(new byte[PngText.MostBytes + 1])]),
            PngChunks.Make("iTXt", [.. "parameters\0\u0001\0\0\0"u8, .. Pack(new byte[PngText.MostBytes + 1])]),
        })
        {
            Assert.True(chunk.Length < 1 << 20);
            AssertRefused(WithChunk(chunk), "MiB");
        }

        // The bound is on all texts together.
        var half = PngChunks.Make("zTXt", [.. "a\0\0"u8, .. Pack(new byte[(PngText.MostBytes / 2) + 1])]);
        Assert.Single(PictureText.ReadAll(WithChunk(half)));
        AssertRefused(WithChunk([.. half, .. half]), "MiB");
    }

    [Theory]
    [InlineData("", "empty")]
    [InlineData("GIF89a", "PNG, JPEG or WebP")]
    public void Other_files_are_refused(string content, string part) => AssertRefused(Encoding.ASCII.GetBytes(content), part);

    [Fact]
    public void A_picture_without_settings_says_so()
    {
        AssertRefused(PngWriter.Encode(8, 8, new byte[192], ""), "carries no settings");
        AssertRefused(WithChunk(PngText.Chunk("Software", "a camera")), "Software");
        var e = Assert.Throws<StableDiffusionException>(() => PictureSettings.Read(folder["none.png"]));
        Assert.Contains("no such file", e.Message, StringComparison.Ordinal);
        Assert.Contains(folder.Path, Assert.Throws<StableDiffusionException>(() => PictureSettings.Read(folder.Path)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void Cut_and_damaged_pictures_give_one_line(string format)
    {
        var whole = Make(format, Settings);
        for (var length = 0; length < whole.Length; length++)
        {
            Assert.Throws<InvalidDataException>(() => PictureText.ReadAll(whole.AsMemory(0, length)));
        }

        var random = new Random(13);
        for (var i = 0; i < DamagedFiles; i++)
        {
            var damaged = (byte[])whole.Clone();
            for (var k = random.Next(4); k >= 0; k--)
            {
                damaged[random.Next(damaged.Length)] = random.Next(2) == 0 ? (byte)random.Next(256) : (byte)(255 * random.Next(2));
            }

            try
            {
                PictureSettings.Find(PictureText.ReadAll(damaged));
            }
            catch (InvalidDataException)
            {
                // Any other exception would reach the user as an unexpected one.
            }
        }
    }

    public void Dispose() => folder.Dispose();

    private static byte[] Make(string format, string text) => format switch
    {
        "plain" => PngWriter.Encode(8, 8, new byte[192], text),
        "zTXt" => WithChunk(PngChunks.Make("zTXt", [.. "parameters\0\0"u8, .. Pack(Encoding.Latin1.GetBytes(text))])),
        "iTXt packed" => WithChunk(PngChunks.Make("iTXt", [.. "parameters\0\u0001\0en\0Parameter\0"u8, .. Pack(Encoding.UTF8.GetBytes(text))])),
        "jpeg" => WithExif(MagickFormat.Jpeg, Encoding.Unicode.GetBytes(text)),
        "jpeg big endian" => WithExif(MagickFormat.Jpeg, Encoding.BigEndianUnicode.GetBytes(text)),
        _ => WithExif(MagickFormat.WebP, Encoding.BigEndianUnicode.GetBytes(text)),
    };

    private static byte[] WithChunk(byte[] chunk)
    {
        var png = PngWriter.Encode(8, 8, new byte[192], "");
        return [.. png[..33], .. chunk, .. png[33..]];
    }

    private static byte[] WithExif(MagickFormat format, byte[] text)
    {
        using var image = new MagickImage(MagickColors.Red, 8, 8);
        var exif = new ExifProfile();
        exif.SetValue(ExifTag.Software, "a test");
        exif.SetValue(ExifTag.UserComment, [.. "UNICODE\0"u8, .. text]);
        image.SetProfile(exif);
        return image.ToByteArray(format);
    }

    private static byte[] Pack(byte[] bytes)
    {
        using var packed = new MemoryStream();
        using (var deflate = new ZLibStream(packed, CompressionLevel.SmallestSize))
        {
            deflate.Write(bytes);
        }

        return packed.ToArray();
    }

    private string Write(byte[] file)
    {
        File.WriteAllBytes(folder["picture"], file);
        return folder["picture"];
    }

    private void AssertRefused(byte[] file, string part)
    {
        var e = Assert.Throws<StableDiffusionException>(() => PictureSettings.Read(Write(file)));
        Assert.StartsWith($"{folder["picture"]}: ", e.Message, StringComparison.Ordinal);
        Assert.Contains(part, e.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', e.Message);
    }
}
