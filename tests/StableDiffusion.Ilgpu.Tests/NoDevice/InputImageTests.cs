using ImageMagick;
using StableDiffusion.Ilgpu.Imaging;
using StableDiffusion.Ilgpu.Tests.Samples;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Pictures of other people: kinds, orientation, transparency, colour, damage.</summary>
public sealed class InputImageTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    /// <summary>Red, green over blue, white: each corner of a 16x16 picture has its own colour.</summary>
    private static readonly byte[][] Corners = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]];

    /// <summary>
    /// An EXIF orientation, and which corner of what is stored lies top left, top right, bottom left, bottom right when upright.
    /// </summary>
    public static TheoryData<Orientation, int[]> Orientations => new()
    {
        { Orientation.TopLeft, [0, 1, 2, 3] },
        { Orientation.TopRight, [1, 0, 3, 2] },
        { Orientation.BottomRight, [3, 2, 1, 0] },
        { Orientation.BottomLeft, [2, 3, 0, 1] },
        { Orientation.LeftTop, [0, 2, 1, 3] },
        { Orientation.RightTop, [2, 0, 3, 1] },
        { Orientation.RightBottom, [3, 1, 2, 0] },
        { Orientation.LeftBottom, [1, 3, 0, 2] },
    };

    [Theory]
    [MemberData(nameof(Orientations))]
    public void A_photograph_is_turned_upright(Orientation orientation, int[] corners)
    {
        const int Width = 32, Height = 16;
        using var stored = Picture(Width, Height, (x, y) => Corners[(2 * (y / (Height / 2))) + (x / (Width / 2))]);
        var exif = new ExifProfile();
        exif.SetValue(ExifTag.Orientation, (ushort)orientation);
        stored.SetProfile(exif);
        stored.Orientation = orientation;
        stored.Quality = 95;
        var image = Load(stored.ToByteArray(MagickFormat.Jpeg));

        var turned = orientation >= Orientation.LeftTop;
        Assert.Equal(turned ? (Height, Width) : (Width, Height), (image.Width, image.Height));
        (int X, int Y)[] places = [(2, 2), (image.Width - 3, 2), (2, image.Height - 3), (image.Width - 3, image.Height - 3)];
        foreach (var ((x, y), corner) in places.Zip(corners))
        {
            Near(Corners[corner], Pixel(image, x, y), 12, $"orientation {orientation} at {x}, {y}");
        }
    }

    [Theory]
    [InlineData(MagickFormat.Png)]
    [InlineData(MagickFormat.WebP)]
    public void Transparent_parts_lie_on_white(MagickFormat format)
    {
        using var picture = new MagickImage(MagickColors.Transparent, 16, 8) { Format = format };
        using (var pixels = picture.GetPixels())
        {
            pixels.SetPixel(0, 0, [200, 100, 0, 255]);
            pixels.SetPixel(1, 0, [200, 100, 0, 51]);
        }

        picture.Settings.SetDefine(MagickFormat.WebP, "lossless", "true");
        var image = Load(picture.ToByteArray(format));
        Assert.Equal([200, 100, 0], Pixel(image, 0, 0));
        Near([244, 224, 204], Pixel(image, 1, 0), 1, "a fifth of the colour, the rest white");
        Assert.Equal([255, 255, 255], Pixel(image, 15, 7));
    }

    [Theory]
    [InlineData(MagickFormat.Png24)]
    [InlineData(MagickFormat.WebP)]
    public void Lossless_files_give_their_pixels(MagickFormat format)
    {
        using var picture = Picture(37, 21, Speckle);
        picture.Settings.SetDefine(MagickFormat.WebP, "lossless", "true");
        var image = Load(picture.ToByteArray(format), "named-otherwise.jpg");
        Assert.Equal((37, 21), (image.Width, image.Height));
        Assert.Equal(picture.GetPixels().ToByteArray(PixelMapping.RGB), image.Pixels.ToArray());
    }

    [Fact]
    public void Lossy_files_give_nearly_their_pixels()
    {
        foreach (var format in new[] { MagickFormat.Jpeg, MagickFormat.WebP })
        {
            using var picture = Picture(32, 32, (x, y) => [(byte)(8 * x), (byte)(8 * y), 128]);
            picture.Quality = 98;
            var image = Load(picture.ToByteArray(format));
            Near([64, 160, 128], Pixel(image, 8, 20), 8, $"{format}");
        }
    }

    [Theory]
    [InlineData(0, 8)]
    [InlineData(0, 16)]
    [InlineData(0, 1)]
    [InlineData(2, 16)]
    public void Grey_and_deep_pngs_become_8_bit_rgb(int colour, int bits)
    {
        // Made by hand, because the 8-bit build of the image library cannot write 16 bits.
        const int Width = 8, Height = 3;
        byte Value(int x, int y, int channel) => bits == 1 ? (byte)(255 * ((x + y) % 2)) : (byte)((30 * x) + (5 * y) + (channel * 3));
        var image = Load(RawPng.Write(Width, Height, bits, colour, Value));
        for (var y = 0; y < Height; y++)
        {
            for (var x = 0; x < Width; x++)
            {
                byte[] expected = [.. Enumerable.Range(0, 3).Select(c => Value(x, y, colour == 0 ? 0 : c))];
                Assert.Equal(expected, Pixel(image, x, y));
            }
        }
    }

    [Fact]
    public void A_colour_profile_is_converted_to_sRGB()
    {
        using var picture = new MagickImage(new MagickColor(0, 200, 0), 8, 8);
        picture.SetProfile(ColorProfiles.AdobeRGB1998);
        var image = Load(picture.ToByteArray(MagickFormat.Png24));

        // Adobe's green lies outside of sRGB: the nearest has more green and no red.
        var pixel = Pixel(image, 4, 4);
        Assert.True(pixel[0] == 0 && pixel[1] > 200 && pixel[2] < 60, $"{string.Join(' ', pixel)} was not converted");
    }

    [Fact]
    public void Cmyk_photographs_become_rgb()
    {
        using var picture = new MagickImage(new MagickColor(255, 0, 0), 16, 16);
        picture.ColorSpace = ColorSpace.CMYK;
        Near([255, 0, 0], Pixel(Load(picture.ToByteArray(MagickFormat.Jpeg)), 8, 8), 6, "red by way of CMYK");
    }

    [Fact]
    public void An_animation_gives_its_first_picture()
    {
        using var frames = new MagickImageCollection
        {
            new MagickImage(MagickColors.Red, 16, 16), new MagickImage(MagickColors.Blue, 16, 16),
        };
        Near([255, 0, 0], Pixel(Load(frames.ToByteArray(MagickFormat.WebP)), 8, 8), 8, "first frame");
    }

    [Fact]
    public void What_is_no_picture_is_named_with_the_reason()
    {
        Directory.CreateDirectory(folder["folder.png"]);
        using var picture = Picture(4, 4, Speckle);
        AssertRefused("missing.png", "there is no such file");
        Assert.Equal("cannot read the picture '': the name is empty", Assert.Throws<StableDiffusionException>(() => InputImage.Load("")).Message);
        AssertRefused("missing/a.png", "there is no such file");
        AssertRefused("folder.png", "it is a folder");
        foreach (var (content, reason) in new (byte[], string)[]
        {
            ([], "it is empty"),
            ("a text"u8.ToArray(), "PNG, JPEG, WebP"),
            ("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"8\" height=\"8\"/>"u8.ToArray(), "PNG, JPEG, WebP"),
            ("%PDF-1.4\n"u8.ToArray(), "PNG, JPEG, WebP"),
            (picture.ToByteArray(MagickFormat.Gif), "a GIF; valid: PNG, JPEG, WebP"),
            (picture.ToByteArray(MagickFormat.Bmp), "a BMP; valid: PNG, JPEG, WebP"),
            (picture.ToByteArray(MagickFormat.Tiff), "a TIFF; valid: PNG, JPEG, WebP"),
            ([.. "RIFF\x04\0\0\0WAVE"u8], "PNG, JPEG, WebP"),
        })
        {
            File.WriteAllBytes(folder["a.png"], content);
            AssertRefused("a.png", reason);
        }
    }

    [Fact]
    public void A_lower_limit_of_the_program_stays()
    {
        const ulong Lower = 3UL << 30;
        var before = ResourceLimits.Memory;
        try
        {
            ResourceLimits.Memory = Lower;
            using var picture = Picture(4, 4, Speckle);
            InputImage.Decode(picture.ToByteArray(MagickFormat.Png24));
            Assert.Equal(Lower, ResourceLimits.Memory);
        }
        finally
        {
            ResourceLimits.Memory = before;
        }
    }

    [Theory]
    [InlineData(MagickFormat.Png24)]
    [InlineData(MagickFormat.Jpeg)]
    [InlineData(MagickFormat.WebP)]
    public void Bytes_give_what_their_file_gives(MagickFormat format)
    {
        using var picture = Picture(24, 16, Speckle);
        var file = picture.ToByteArray(format);
        var (stored, given) = (Load(file), InputImage.Decode(file));
        Assert.Equal((stored.Width, stored.Height), (given.Width, given.Height));
        Assert.Equal(stored.Pixels.ToArray(), given.Pixels.ToArray());
        foreach (var (damaged, message) in new (byte[], string)[]
        {
            ([], "cannot read the picture: it is empty; valid: PNG, JPEG, WebP"),
            (file[..(file.Length / 8)], "cannot read the picture: it is damaged or cut short"),
        })
        {
            Assert.StartsWith(message, Assert.Throws<StableDiffusionException>(() => InputImage.Decode(damaged)).Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData(100_000, 100_000)]
    [InlineData(16385, 8)]
    [InlineData(8, 16385)]
    [InlineData(16384, 16384)]
    [InlineData(int.MaxValue, int.MaxValue)]
    public void A_header_that_claims_a_huge_picture_is_refused_without_decoding(int width, int height)
    {
        var png = RawPng.Write(8, 8, 8, 2, (_, _, _) => 77);
        File.WriteAllBytes(folder["huge.png"], RawPng.WithSize(png, width, height));
        var before = GC.GetAllocatedBytesForCurrentThread();
        AssertRefused("huge.png", $"it has {width}x{height} pixels");
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 10_000_000);
    }

    /// <summary>The image library would allocate a row of it first.</summary>
    [Fact]
    public void The_size_in_a_header_is_looked_at_before_the_image_library_sees_it()
    {
        var png = RawPng.WithSize(RawPng.Write(8, 8, 8, 2, (_, _, _) => 77), int.MaxValue, int.MaxValue)[..24];
        Assert.Contains(
            $"it has {int.MaxValue}x{int.MaxValue} pixels", Assert.Throws<StableDiffusionException>(() => InputImage.Decode(png)).Message, StringComparison.Ordinal);
    }

    /// <summary>A small animation can have pictures that take gigabytes.</summary>
    [Fact]
    public void Later_pictures_of_an_animation_are_not_looked_at()
    {
        using var frames = new MagickImageCollection
        {
            new MagickImage(MagickColors.Red, 16, 16), new MagickImage(MagickColors.Blue, 16, 16), new MagickImage(MagickColors.Green, 16, 16),
        };
        var file = frames.ToByteArray(MagickFormat.WebP);
        var second = file.AsSpan().IndexOf("ANMF"u8) + 4;
        second += file.AsSpan(second).IndexOf("ANMF"u8);
        Assert.True(second > 4);

        // All of the second picture but the lengths of its chunks.
        file.AsSpan(second + 8 + 16 + 8, 16).Fill(0xff);
        Near([255, 0, 0], Pixel(InputImage.Decode(file), 8, 8), 8, "first frame");

        // Bytes behind the container do not count.
        Near([255, 0, 0], Pixel(InputImage.Decode([.. file, .. new byte[20]]), 8, 8), 8, "first frame, and more behind");
    }

    [Fact]
    public void Texts_that_may_unpack_into_gigabytes_are_not_unpacked()
    {
        var png = RawPng.Write(8, 8, 8, 2, (x, y, c) => (byte)((x * y) + c));
        byte[] Text(char name, int bytes) => PngChunks.Make("zTXt", [(byte)name, 0, 0, .. Enumerable.Range(0, bytes).Select(i => (byte)(i * i * 7))]);
        byte[] With(params byte[][] texts) => [.. png[..33], .. texts.SelectMany(t => t), .. png[33..]];
        const int half = PictureParts.MostPackedTexts / 2;
        byte[] first = Text('a', half - 100), second = Text('b', half - 100), last = Text('e', 100), plain = PngText.Chunk("c", new string('ł', 2 * half));
        Assert.Equal(With(first, second, plain), PictureParts.OfPng(With(first, second, plain)).ToArray());
        Assert.Equal(With(first, plain, second, last), PictureParts.OfPng(With(first, plain, second, Text('d', half), last)).ToArray());
        Assert.Equal(png, PictureParts.OfPng(With(Text('a', 3 * half))).ToArray());
        Assert.Equal(InputImage.Decode(png).Pixels.ToArray(), InputImage.Decode(With(Text('a', 3 * half))).Pixels.ToArray());
    }

    [Theory]
    [InlineData(MagickFormat.Png24)]
    [InlineData(MagickFormat.Jpeg)]
    [InlineData(MagickFormat.WebP)]
    public void A_file_that_was_cut_short_anywhere_is_refused(MagickFormat format)
    {
        using var picture = Picture(48, 48, Speckle);
        var whole = picture.ToByteArray(format);
        var pixels = Load(whole).Pixels.ToArray();
        for (var length = 1; length < whole.Length; length += 1 + (whole.Length / 100))
        {
            File.WriteAllBytes(folder["cut"], whole[..length]);
            try
            {
                // The last bytes of a file may be of no account: then the picture must be the whole one.
                Assert.True(pixels.AsSpan().SequenceEqual(InputImage.Load(folder["cut"]).Pixels.Span), $"half a picture from {length} bytes");
            }
            catch (StableDiffusionException e)
            {
                AssertLine(e, "cut");
            }
        }

        File.WriteAllBytes(folder["cut"], whole[..(whole.Length / 2)]);
        AssertRefused("cut", "damaged or cut short");
    }

    [Theory]
    [InlineData(MagickFormat.Png24)]
    [InlineData(MagickFormat.Jpeg)]
    [InlineData(MagickFormat.WebP)]
    public void Damaged_bytes_give_a_picture_or_one_line(MagickFormat format)
    {
        using var picture = Picture(24, 24, Speckle);
        var whole = picture.ToByteArray(format);
        var random = new Random(11);
        var refused = 0;
        for (var i = 0; i < 200; i++)
        {
            var damaged = whole.ToArray();
            for (var n = random.Next(1, 5); n > 0; n--)
            {
                damaged[random.Next(damaged.Length)] = (byte)random.Next(256);
            }

            File.WriteAllBytes(folder["damaged"], damaged);
            try
            {
                var image = InputImage.Load(folder["damaged"]);
                Assert.Equal(3 * image.Width * image.Height, image.Pixels.Length);
            }
            catch (StableDiffusionException e)
            {
                refused++;
                AssertLine(e, "damaged");
            }
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{format}: {refused} of 200 refused");
        Assert.True(refused > 0);
    }

    [Fact]
    public void Pixels_are_copied_and_must_fit_the_size()
    {
        byte[] pixels = [1, 2, 3, 4, 5, 6];
        var image = new InputImage(2, 1, pixels);
        pixels[0] = 9;
        Assert.Equal([1, 2, 3, 4, 5, 6], image.Pixels.ToArray());
        Assert.Contains("6 bytes", Assert.Throws<StableDiffusionException>(() => new InputImage(2, 2, pixels)).Message, StringComparison.Ordinal);
        Assert.Contains("0x2", Assert.Throws<StableDiffusionException>(() => new InputImage(0, 2, [])).Message, StringComparison.Ordinal);
        Assert.Equal(
            "6 bytes are not a picture of 2147483647x2147483647 pixels, which has 13835058042397261827",
            Assert.Throws<StableDiffusionException>(() => new InputImage(int.MaxValue, int.MaxValue, pixels)).Message);
    }

    public void Dispose() => folder.Dispose();

    private InputImage Load(byte[] bytes, string name = "picture")
    {
        File.WriteAllBytes(folder[name], bytes);
        return InputImage.Load(folder[name]);
    }

    private void AssertRefused(string name, string reason)
    {
        var error = Assert.Throws<StableDiffusionException>(() => InputImage.Load(folder[name]));
        TestContext.Current.TestOutputHelper?.WriteLine(error.Message);
        AssertLine(error, name);
        Assert.Contains(reason, error.Message, StringComparison.Ordinal);
    }

    private void AssertLine(StableDiffusionException error, string name)
    {
        Assert.StartsWith($"cannot read the picture '{folder[name]}': ", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', error.Message);
        Assert.DoesNotContain(".c/", error.Message, StringComparison.Ordinal);
    }

    private static byte[] Speckle(int x, int y) => [(byte)(x * 37 * y), (byte)((x * x) + y), (byte)(91 * (x + y))];

    private static MagickImage Picture(int width, int height, Func<int, int, byte[]> colour)
    {
        byte[] pixels = [.. Enumerable.Range(0, width * height).SelectMany(i => colour(i % width, i / width))];
        var image = new MagickImage();
        image.ReadPixels(pixels, new PixelReadSettings((uint)width, (uint)height, StorageType.Char, PixelMapping.RGB));
        return image;
    }

    private static byte[] Pixel(InputImage image, int x, int y) => image.Pixels.Slice(3 * ((y * image.Width) + x), 3).ToArray();

    private static void Near(byte[] expected, byte[] actual, int tolerance, string what) => Assert.True(
        expected.Zip(actual).All(p => Math.Abs(p.First - p.Second) <= tolerance),
        $"{what}: {string.Join(' ', actual)} is not {string.Join(' ', expected)} within {tolerance}");
}
