using System.Buffers.Binary;
using ImageMagick;
using StableDiffusion.Ilgpu.Imaging;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Strips and animations, read by the specification or by the image library; and pictures straight from latents.</summary>
public sealed class StepsPictureTests
{
    private const int Width = 16;
    private const int Height = 8;

    [Theory]
    [InlineData(1, 1, 1)]
    [InlineData(3, 3, 1)]
    [InlineData(1025, 1024, 2)]
    public void A_strip_has_the_frames_side_by_side_and_wraps(int count, int columns, int rows)
    {
        var frames = Frames(count);
        var strip = PngFile.Parse(StepsPicture.Encode(".PNG", frames, "a cat"));
        Assert.Equal((Width * columns, Height * rows, "a cat"), (strip.Width, strip.Height, strip.Text("parameters")));
        for (var i = 0; i < count; i++)
        {
            for (var y = 0; y < Height; y++)
            {
                var first = 3 * ((((i / columns * Height) + y) * strip.Width) + (i % columns * Width));
                Assert.Equal(frames[i].Pixels.Span.Slice(3 * Width * y, 3 * Width), strip.Pixels.AsSpan(first, 3 * Width));
            }
        }
    }

    [Theory]
    [InlineData(".webp", 1, 16384, 8, "16384x8", "16383", ".apng")]
    [InlineData(".webp", 1, 8, 16384, "8x16384", "16383", ".apng")]
    [InlineData(".png", 43, 4096, 4096, "43 pictures of 4096x4096", "fewer", ".apng")]
    public void Frames_without_room_are_told(string extension, int count, int width, int height, params string[] parts)
    {
        var frame = new GeneratedImage(width, height, new byte[3 * width * height], 0, "");
        var error = Assert.Throws<StableDiffusionException>(() => StepsPicture.Encode(extension, [.. Enumerable.Repeat(frame, count)], ""));
        Assert.All(parts, part => Assert.Contains(part, error.Message, StringComparison.Ordinal));
    }

    [Fact]
    public void An_animated_png_is_what_its_specification_says()
    {
        var frames = Frames(4);
        var file = StepsPicture.Encode(".apng", frames, "猫");
        var png = PngFile.Parse(file);
        Assert.Equal(frames[0].Pixels.ToArray(), png.Pixels);
        Assert.Equal("猫", png.Text("parameters"));
        Assert.Equal([0, 0, 0, 4, 0, 0, 0, 0], Assert.Single(png.Chunks, c => c.Type == "acTL").Data);
        Assert.True(png.Chunks.ToList().FindIndex(c => c.Type == "acTL") < png.Chunks.ToList().FindIndex(c => c.Type == "IDAT"));

        // Control and data chunks are numbered together, in their order.
        var numbered = png.Chunks.Where(c => c.Type is "fcTL" or "fdAT").ToList();
        Assert.Equal(Enumerable.Range(0, numbered.Count), numbered.Select(c => BinaryPrimitives.ReadInt32BigEndian(c.Data)));
        Assert.Equal(4, numbered.Count(c => c.Type == "fcTL"));
        Assert.All(numbered.Where(c => c.Type == "fcTL"), c => Assert.Equal([0, 0, 0, Width, 0, 0, 0, Height, 0, 0, 0, 0, 0, 0, 0, 0], c.Data[4..20]));

        // Tenths of a second, and two seconds for the picture; over 100.
        Assert.Equal([10, 10, 10, 200], numbered.Where(c => c.Type == "fcTL").Select(c => (int)BinaryPrimitives.ReadInt16BigEndian(c.Data.AsSpan(20))));
        Assert.All(numbered.Where(c => c.Type == "fcTL"), c => Assert.Equal([0, 100, 0, 0], c.Data[22..]));

        // Each frame's data are those of a picture of its own.
        var header = png.Chunks[0].Data;
        for (var i = 1; i < 4; i++)
        {
            var start = png.Chunks.Select((c, at) => (c, at)).Where(c => c.c.Type == "fcTL").ElementAt(i).at;
            var data = png.Chunks.Skip(start + 1).TakeWhile(c => c.Type == "fdAT").SelectMany(c => c.Data[4..]).ToArray();
            byte[] alone = [.. PngChunks.Signature, .. PngChunks.Make("IHDR", header), .. PngChunks.Make("IDAT", data), .. PngChunks.Make("IEND", [])];
            Assert.Equal(frames[i].Pixels.ToArray(), PngFile.Parse(alone).Pixels);
        }
    }

    [Fact]
    public void An_animated_webp_has_every_frame()
    {
        var frames = Enumerable.Range(0, 3).Select(i => Picture(_ => (byte)(90 * i))).ToList();
        using var read = new MagickImageCollection(StepsPicture.Encode(".webp", frames, ""));
        Assert.Equal([(16u, 8u, 10u), (16u, 8u, 10u), (16u, 8u, 200u)], read.Select(i => (i.Width, i.Height, i.AnimationDelay)));
        Assert.All(read.Zip(frames), pair => Assert.InRange(
            pair.First.ToByteArray(MagickFormat.Rgb)[0] - pair.Second.Pixels.Span[0], -4, 4));
    }

    [Fact]
    public void Another_extension_is_refused() =>
        Assert.Contains(".apng", Assert.Throws<StableDiffusionException>(() => StepsPicture.Encode(".gif", Frames(1), "")).Message, StringComparison.Ordinal);

    [Fact]
    public void A_latent_of_one_value_is_a_picture_of_one_colour()
    {
        // A channel at a time; the colours follow from the published factors.
        (float[] Latent, byte[] Colour)[] cases =
        [
            ([0, 0, 0, 0], [125, 120, 114]), ([1, 0, 0, 0], [168, 148, 147]), ([0, 1, 0, 0], [146, 170, 120]), ([0, 0, 1, 0], [91, 151, 143]),
            ([0, 0, 0, 1], [103, 95, 27]), ([float.NaN, 0, 0, 0], [0, 0, 0]), ([99, 99, 0, 0], [255, 255, 255]),
        ];
        foreach (var (latent, colour) in cases)
        {
            var pixels = LatentColours.Draw([.. latent.SelectMany(v => Enumerable.Repeat(v, 6))], 2, 3, 8);
            Assert.Equal(3 * 16 * 24, pixels.Length);
            Assert.All(pixels.Chunk(3), pixel => Assert.Equal(colour, pixel));
        }
    }

    [Fact]
    public void Colours_run_straight_between_the_middles_of_two_elements()
    {
        // The first channel falls from left to right: so does red.
        var pixels = LatentColours.Draw([1, -1, 0, 0, 0, 0, 0, 0], 1, 2, 8);
        var red = Enumerable.Range(0, 16).Select(x => (int)pixels[3 * x]).ToArray();
        Assert.Equal(red.OrderDescending(), red);
        Assert.Equal((168, 168, 82, 82), (red[0], red[3], red[12], red[15]));
        Assert.InRange(red[7] - red[8], 9, 12);
    }

    private static List<GeneratedImage> Frames(int count)
    {
        var random = new Random(15);
        return [.. Enumerable.Range(0, count).Select(_ => Picture(_ => (byte)random.Next(256)))];
    }

    private static GeneratedImage Picture(Func<int, byte> pixel) =>
        new(Width, Height, [.. Enumerable.Range(0, 3 * Width * Height).Select(pixel)], 0, "");
}
