using ImageMagick;

namespace StableDiffusion.Ilgpu.Imaging;

/// <summary>Brings pictures to the size that is drawn.</summary>
internal static class PictureFit
{
    /// <summary>The picture in another size, by a Lanczos filter; the same object where it has that size.</summary>
    public static InputImage Fit(InputImage image, int width, int height, ResizeMode mode) =>
        Fit(image, width, height, mode, FilterType.Lanczos);

    /// <summary>The same by a filter that never leaves the range of the pixels it mixes: flat parts of a mask stay as they are.</summary>
    public static InputImage FitMask(InputImage mask, int width, int height, ResizeMode mode) =>
        Fit(mask, width, height, mode, FilterType.Triangle);

    /// <summary>The picture in another size whatever its proportions, by a Lanczos filter or by repeating pixels.</summary>
    public static InputImage Enlarge(InputImage image, int width, int height, bool repeated) =>
        Scale(image, width, height, repeated ? FilterType.Point : FilterType.Lanczos);

    private static InputImage Fit(InputImage image, int width, int height, ResizeMode mode, FilterType filter) => mode switch
    {
        _ when (image.Width, image.Height) == (width, height) => image,
        ResizeMode.Stretch => Scale(image, width, height, filter),
        ResizeMode.Crop when IsRoundedDown(image.Width, width) && IsRoundedDown(image.Height, height) =>
            Arrange(image, width, height, (image.Width - width) / 2, (image.Height - height) / 2),
        ResizeMode.Crop => Scale(CutToAspect(image, width, height), width, height, filter),
        ResizeMode.Pad => ScaleAndPad(image, width, height, filter),
        _ => throw new StableDiffusionException(
            $"unknown resize mode {NumberText.Of((int)mode)}; valid: {string.Join(", ", Enum.GetNames<ResizeMode>())}".ToLowerInvariant()),
    };

    /// <summary>A side that only lost what it has beyond a multiple of 8: pixels are cut off and the others stay what they are.</summary>
    private static bool IsRoundedDown(int side, int drawn) => side - drawn is >= 0 and < 8;

    /// <summary>The middle of a picture with the proportions of a size, to the nearest pixel.</summary>
    private static InputImage CutToAspect(InputImage image, int width, int height)
    {
        var (w, h) = Inside(width, height, image.Width, image.Height);
        return Arrange(image, w, h, (image.Width - w) / 2, (image.Height - h) / 2);
    }

    private static InputImage ScaleAndPad(InputImage image, int width, int height, FilterType filter)
    {
        var (w, h) = Inside(image.Width, image.Height, width, height);
        return Arrange(Scale(image, w, h, filter), width, height, -((width - w) / 2), -((height - h) / 2));
    }

    /// <summary>The largest size with the proportions of the first that lies in the second, at least one pixel.</summary>
    private static (int Width, int Height) Inside(long width, long height, int outerWidth, int outerHeight)
    {
        static int Scaled(long side, long numerator, long denominator) =>
            (int)Math.Max(1, ((2 * side * numerator) + denominator) / (2 * denominator));

        return width * outerHeight >= height * outerWidth
            ? (outerWidth, Scaled(height, outerWidth, width))
            : (Scaled(width, outerHeight, height), outerHeight);
    }

    /// <summary>A window of a picture; outside of it lie the pixels of its edge.</summary>
    private static InputImage Arrange(InputImage image, int width, int height, int left, int top)
    {
        if ((width, height) == (image.Width, image.Height))
        {
            return image;
        }

        var source = image.Pixels.Span;
        var target = new byte[3 * width * height];
        for (var y = 0; y < height; y++)
        {
            var row = source.Slice(3 * image.Width * Math.Clamp(top + y, 0, image.Height - 1), 3 * image.Width);
            for (var x = 0; x < width; x++)
            {
                row.Slice(3 * Math.Clamp(left + x, 0, image.Width - 1), 3).CopyTo(target.AsSpan(3 * ((y * width) + x)));
            }
        }

        return new InputImage(width, height, target);
    }

    private static InputImage Scale(InputImage image, int width, int height, FilterType filter)
    {
        if ((width, height) == (image.Width, image.Height))
        {
            return image;
        }

        ImageLibrary.Require("resize a picture");
        using var magick = new MagickImage();
        magick.ReadPixels(
            image.Pixels.Span, new PixelReadSettings((uint)image.Width, (uint)image.Height, StorageType.Char, PixelMapping.RGB));
        magick.Resize(new MagickGeometry((uint)width, (uint)height) { IgnoreAspectRatio = true }, filter);
        using var pixels = magick.GetPixelsUnsafe();
        return new InputImage(width, height, pixels.ToByteArray(PixelMapping.RGB));
    }
}
