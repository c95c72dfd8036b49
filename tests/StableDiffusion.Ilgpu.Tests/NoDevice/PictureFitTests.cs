using StableDiffusion.Ilgpu.Imaging;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Pictures and masks in the size that is drawn.</summary>
public sealed class PictureFitTests
{
    [Theory]
    [InlineData(ResizeMode.Stretch)]
    [InlineData(ResizeMode.Crop)]
    [InlineData(ResizeMode.Pad)]
    public void A_picture_of_the_size_stays_as_it_is(ResizeMode mode)
    {
        var image = Noise(24, 16);
        Assert.Same(image, PictureFit.Fit(image, 24, 16, mode));
    }

    [Theory]
    [InlineData(30, 16, 24, 16, 3, 0)]
    [InlineData(24, 21, 24, 16, 0, 2)]
    public void Crop_cuts_both_sides_alike_and_moves_no_pixel(int width, int height, int toWidth, int toHeight, int left, int top)
    {
        var image = Noise(width, height);
        var fitted = PictureFit.Fit(image, toWidth, toHeight, ResizeMode.Crop);
        for (var y = 0; y < toHeight; y++)
        {
            for (var x = 0; x < toWidth; x++)
            {
                Assert.Equal(Pixel(image, x + left, y + top), Pixel(fitted, x, y));
            }
        }
    }

    [Theory]
    [InlineData(20, 16, 24, 16, 2, 0)]
    [InlineData(24, 11, 24, 16, 0, 2)]
    public void Pad_repeats_the_pixels_of_the_edge(int width, int height, int toWidth, int toHeight, int left, int top)
    {
        var image = Noise(width, height);
        var fitted = PictureFit.Fit(image, toWidth, toHeight, ResizeMode.Pad);
        for (var y = 0; y < toHeight; y++)
        {
            for (var x = 0; x < toWidth; x++)
            {
                Assert.Equal(Pixel(image, Math.Clamp(x - left, 0, width - 1), Math.Clamp(y - top, 0, height - 1)), Pixel(fitted, x, y));
            }
        }
    }

    /// <summary>A picture of 80x40 with red in its left quarter, green in the middle and blue in its right quarter.</summary>
    [Theory]
    [InlineData(ResizeMode.Stretch, "red", "green", "blue")]
    [InlineData(ResizeMode.Crop, "green", "green", "green")]
    [InlineData(ResizeMode.Pad, "red", "green", "blue")]
    public void Each_mode_shows_its_part(ResizeMode mode, string left, string middle, string right)
    {
        var image = Picture(80, 40, (x, _) => x < 20 ? [255, 0, 0] : x < 60 ? [0, 255, 0] : [0, 0, 255]);
        foreach (var size in new[] { 32, 64 })
        {
            var fitted = PictureFit.Fit(image, size, size, mode);
            Assert.Equal((size, size), (fitted.Width, fitted.Height));
            string At(int x) => new[] { "red", "green", "blue" }[Array.IndexOf(Pixel(fitted, x, size / 2), (byte)255)];
            Assert.Equal((left, middle, right), (At(1), At(size / 2), At(size - 2)));
        }
    }

    [Fact]
    public void A_lanczos_filter_keeps_a_ramp_and_sharp_edges()
    {
        var ramp = PictureFit.Fit(Picture(64, 8, (x, _) => [(byte)(4 * x), 100, 0]), 32, 8, ResizeMode.Stretch);
        for (var x = 4; x < 28; x++)
        {
            // The middle of two pixels.
            Assert.InRange(Pixel(ramp, x, 4)[0], (8 * x) + 1, (8 * x) + 3);
            Assert.Equal(100, Pixel(ramp, x, 4)[1]);
        }

        // A cubic or linear filter would not swing beyond both sides of an edge; a mask's must not.
        var edge = Picture(64, 8, (x, _) => x < 32 ? [50, 50, 50] : [200, 200, 200]);
        var fitted = PictureFit.Fit(edge, 128, 8, ResizeMode.Stretch);
        Assert.Contains(Enumerable.Range(0, 128), x => Pixel(fitted, x, 4)[0] is < 50 or > 200);
        var mask = PictureFit.FitMask(edge, 128, 8, ResizeMode.Stretch);
        Assert.All(Enumerable.Range(0, 128), x => Assert.InRange(Pixel(mask, x, 4)[0], 50, 200));
    }

    [Theory]
    [InlineData(1, 300)]
    [InlineData(300, 1)]
    [InlineData(1, 1)]
    public void Extreme_proportions_fit_too(int width, int height)
    {
        var image = Noise(width, height);
        foreach (var mode in Enum.GetValues<ResizeMode>())
        {
            var fitted = PictureFit.Fit(image, 16, 24, mode);
            Assert.Equal((16, 24), (fitted.Width, fitted.Height));
        }
    }

    [Fact]
    public void A_mask_of_the_size_is_taken_value_by_value()
    {
        var mask = Picture(256, 8, (x, _) => [(byte)x, (byte)x, (byte)x]);
        var values = PictureMask.Of(mask, mask, 256, 8, ResizeMode.Crop, invert: false, blur: 0);
        Assert.Equal(Enumerable.Range(0, 256).Select(x => x / 255f), values[..256]);
        var inverted = PictureMask.Of(mask, mask, 256, 8, ResizeMode.Crop, invert: true, blur: 0);
        Assert.Equal(Enumerable.Range(0, 256).Select(x => 1 - (x / 255f)), inverted[..256]);

        // ITU-R BT.601.
        var colours = Picture(3, 1, (x, _) => [(byte)(x == 0 ? 255 : 0), (byte)(x == 1 ? 255 : 0), (byte)(x == 2 ? 255 : 0)]);
        var luminance = PictureMask.Of(colours, colours, 3, 1, ResizeMode.Crop, invert: false, blur: 0);
        Assert.Equal(new[] { 76 / 255f, 150 / 255f, 29 / 255f }, luminance);
    }

    /// <summary>With the edges of the white part in the size that is drawn.</summary>
    [Theory]
    [InlineData(ResizeMode.Crop, 0, 24)]
    [InlineData(ResizeMode.Pad, 8, 20)]
    [InlineData(ResizeMode.Stretch, 8, 24)]
    public void A_mask_goes_the_way_of_its_picture(ResizeMode mode, int left, int top)
    {
        // The mask has the picture's proportions no more: what counts is where it lies on the picture.
        var picture = Picture(96, 48, (x, y) => x >= 24 && y >= 36 ? [255, 255, 255] : [0, 0, 0]);
        var mask = Picture(20, 20, (x, y) => x >= 5 && y >= 15 ? [255, 255, 255] : [0, 0, 0]);
        var values = PictureMask.Of(mask, picture, 32, 32, mode, invert: false, blur: 0);
        var fitted = PictureFit.Fit(picture, 32, 32, mode);
        for (var i = 0; i < values.Length; i++)
        {
            if (Math.Abs((i % 32) + 0.5 - left) > 3 && Math.Abs((i / 32) + 0.5 - top) > 3)
            {
                Assert.Equal(i % 32 >= left && i / 32 >= top ? 1 : 0, values[i]);
                Assert.Equal(values[i], fitted.Pixels.Span[3 * i] > 127 ? 1 : 0);
            }
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    [InlineData(9)]
    public void Blur_is_a_gaussian(int blur)
    {
        const int Size = 64, Middle = 32;
        var mask = Picture(Size, Size, (x, y) => (x, y) == (Middle, Middle) ? [255, 255, 255] : [0, 0, 0]);
        var values = PictureMask.Of(mask, mask, Size, Size, ResizeMode.Crop, invert: false, blur);
        var radius = (int)Math.Ceiling(2.5 * blur);
        var sum = Enumerable.Range(-radius, (2 * radius) + 1).Sum(i => Math.Exp(-i * i / (2.0 * blur * blur)));
        var worst = 0.0;
        for (var y = 0; y < Size; y++)
        {
            for (var x = 0; x < Size; x++)
            {
                var (dx, dy) = (x - Middle, y - Middle);
                var expected = Math.Max(Math.Abs(dx), Math.Abs(dy)) > radius
                    ? 0 : Math.Exp(-((dx * dx) + (dy * dy)) / (2.0 * blur * blur)) / (sum * sum);
                worst = Math.Max(worst, Math.Abs(values[(y * Size) + x] - expected));
            }
        }

        // Two roundings to fp32 of values of 1 / (2 pi) at most.
        Assert.InRange(worst, 0, 3e-8);
    }

    /// <summary>What lies beyond an edge is mirrored at the last pixel, which is not repeated.</summary>
    [Fact]
    public void Blur_mirrors_at_the_edges()
    {
        var mask = Picture(16, 1, (x, _) => x is 1 or 13 ? [255, 255, 255] : [0, 0, 0]);
        var values = PictureMask.Of(mask, mask, 16, 1, ResizeMode.Crop, invert: false, blur: 1);
        double Weight(int distance) => Math.Exp(-distance * distance / 2.0) / Enumerable.Range(-3, 7).Sum(i => Math.Exp(-i * i / 2.0));
        Assert.Equal(2 * Weight(1), values[0], 1e-6);
        Assert.Equal(Weight(0) + Weight(2), values[1], 1e-6);
        Assert.Equal(2 * Weight(2), values[15], 1e-6);
    }

    [Fact]
    public void Blur_keeps_flat_parts_exactly_and_repeats()
    {
        var mask = Picture(96, 40, (x, _) => x >= 48 ? [255, 255, 255] : [0, 0, 0]);
        var values = PictureMask.Of(mask, mask, 96, 40, ResizeMode.Crop, invert: false, blur: 4);
        Assert.Equal(0f, values[30]);
        Assert.All(values, v => Assert.InRange(v, 0, 1));
        Assert.InRange(values[70], 0.9999999f, 1f);
        Assert.InRange(values[47] + values[48], 0.99999, 1.00001);
        Assert.Equal(values, PictureMask.Of(mask, mask, 96, 40, ResizeMode.Crop, invert: false, blur: 4));

        // A kernel that is wider than the picture.
        Assert.All(PictureMask.Of(Noise(3, 1), Noise(3, 1), 3, 1, ResizeMode.Crop, invert: false, blur: 100), v => Assert.InRange(v, 0, 1));
    }

    [Fact]
    public void A_composite_keeps_unmasked_bytes_and_mixes_soft_ones()
    {
        var original = Noise(5, 1);
        byte[] generated = [.. original.Pixels.ToArray().Select(b => (byte)(255 - b))];
        float[] mask = [0, 1, 0.5f, 1e-9f, 0.25f];
        var result = PictureMask.Composite(original, generated, mask).Pixels.ToArray();
        Assert.Equal(original.Pixels[..3].ToArray(), result[..3]);
        Assert.Equal(generated[3..6], result[3..6]);
        Assert.All(result[6..9], b => Assert.InRange(b, 127, 128));
        for (var i = 12; i < 15; i++)
        {
            Assert.InRange(result[i] - ((0.75 * original.Pixels.Span[i]) + (0.25 * generated[i])), -0.5, 0.5);
        }
    }

    [Fact]
    public void A_request_says_what_of_its_pictures_cannot_be_used()
    {
        var picture = Noise(8, 8);
        var request = new GenerationRequest { Prompt = "", InitImage = picture };
        request.Validate();
        (request with { Mask = picture, MaskBlur = 256, InvertMask = true, Strength = 1 }).Validate();
        foreach (var (wrong, part) in new[]
        {
            (request with { Strength = 2 }, "strength 2 cannot be used; valid: 0 to 1"),
            (request with { Strength = -0.1 }, "strength -0.1"),
            (request with { Strength = double.NaN }, "strength NaN"),
            (request with { Strength = 0 }, "strength 0 of 20 steps"),
            (request with { Strength = 0.04 }, "strength 0.04 of 20 steps leaves none to run"),
            (request with { ResizeMode = (ResizeMode)7 }, "resize mode 7; valid: stretch, crop, pad"),
            (request with { Mask = picture, MaskBlur = -1 }, "mask blur -1"),
            (request with { Mask = picture, MaskBlur = 257 }, "mask blur 257"),
            (request with { MaskBlur = 4 }, "needs a mask"),
            (request with { InvertMask = true }, "needs a mask"),
            (request with { InitImage = null, Mask = picture }, "needs a picture"),
        })
        {
            var error = Assert.Throws<StableDiffusionException>(wrong.Validate);
            Assert.Contains(part, error.Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData(20, 0.75, 5)]
    [InlineData(10, 0.6, 4)]
    [InlineData(10, 1, 0)]
    [InlineData(7, 0.5, 4)]
    [InlineData(100, 0.29, 72)]
    public void Strength_skips_the_first_steps_as_other_tools_do(int steps, double strength, int first)
    {
        var request = new GenerationRequest { Prompt = "", Steps = steps, Strength = strength };
        Assert.Equal(0, request.FirstStep);
        Assert.Equal(first, (request with { InitImage = Noise(8, 8) }).FirstStep);
    }

    [Fact]
    public void The_size_is_the_pictures_own_rounded_down()
    {
        GenerationRequest Of(int width, int height) => new() { Prompt = "", InitImage = Noise(width, height) };
        Assert.Equal((64, 64), Of(64, 71).InitSize());
        Assert.Equal((8, 16), Of(3, 17).InitSize());
        Assert.Equal((64, 16), (Of(3, 17) with { Width = 64 }).InitSize());
    }

    [Fact]
    public void The_parameters_say_what_was_done()
    {
        static string Text(GenerationRequest request) => InfoText.Format("p", "", PictureSettingsText.Of(request));
        var request = new GenerationRequest { Prompt = "" };
        Assert.Equal("p", Text(request));
        request = request with { InitImage = Noise(8, 8) };
        Assert.Equal("p\nDenoising strength: 0.75", Text(request));
        request = request with { Mask = Noise(8, 8), MaskBlur = 4 };
        Assert.Equal("p\nDenoising strength: 0.75, Mask blur: 4", Text(request));
        Assert.Equal("p\nDenoising strength: 0.5, Mask mode: Inpaint not masked", Text(request with { MaskBlur = 0, InvertMask = true, Strength = 0.5 }));
        Assert.Equal(
            "p\nDenoising strength: 0.75, Resize mode: pad, Latent: mean",
            Text(request with { Mask = null, ResizeMode = ResizeMode.Pad, MeanLatent = true }));
    }

    private static InputImage Noise(int width, int height)
    {
        var pixels = new byte[3 * width * height];
        new Random(5).NextBytes(pixels);
        return new InputImage(width, height, pixels);
    }

    private static InputImage Picture(int width, int height, Func<int, int, byte[]> colour) =>
        new(width, height, Enumerable.Range(0, width * height).SelectMany(i => colour(i % width, i / width)).ToArray());

    private static byte[] Pixel(InputImage image, int x, int y) => image.Pixels.Slice(3 * ((y * image.Width) + x), 3).ToArray();
}
