using StableDiffusion.Ilgpu.Imaging;

namespace StableDiffusion.Ilgpu;

/// <summary>A picture to begin with, or a mask: 8-bit RGB.</summary>
public sealed class InputImage
{
    /// <summary>Takes a copy of pixels.</summary>
    /// <param name="width">Width in pixels, at least 1.</param>
    /// <param name="height">Height in pixels, at least 1.</param>
    /// <param name="pixels">Rows from the top, pixels from the left, bytes R, G, B; length 3 * width * height.</param>
    /// <exception cref="StableDiffusionException">The size is empty, or there are more or fewer bytes than it takes.</exception>
    public InputImage(int width, int height, ReadOnlySpan<byte> pixels)
    {
        if (width < 1 || height < 1)
        {
            throw new StableDiffusionException($"a picture of {NumberText.Of(width)}x{NumberText.Of(height)} pixels has nothing in it; valid: 1x1 and more");
        }

        var expected = (Int128)3 * width * height;
        if (pixels.Length != expected)
        {
            throw new StableDiffusionException($"{pixels.Length} bytes are not a picture of {width}x{height} pixels, which has {expected}");
        }

        (Width, Height, Pixels) = (width, height, pixels.ToArray());
    }

    /// <summary>Width in pixels.</summary>
    public int Width { get; }

    /// <summary>Height in pixels.</summary>
    public int Height { get; }

    /// <summary>Rows from the top, pixels from the left, bytes R, G, B; length 3 * Width * Height.</summary>
    public ReadOnlyMemory<byte> Pixels { get; }

    /// <summary>
    /// Reads a PNG, JPEG or WebP file, whatever its name ends in: turned upright as its EXIF orientation says, converted to sRGB where it
    /// carries a colour profile, transparent parts on white, 8 bits. Of an animation the first picture is taken.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <exception cref="StableDiffusionException">
    /// The file is missing, of another kind, damaged, or larger than 16384 pixels a side or 128 million pixels in all.
    /// </exception>
    public static InputImage Load(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        return PictureReader.Read(path);
    }

    /// <summary>Reads the bytes of such a file.</summary>
    /// <param name="file">All of them.</param>
    /// <exception cref="StableDiffusionException">
    /// It is of another kind, damaged, or larger than 16384 pixels a side or 128 million pixels in all.
    /// </exception>
    public static InputImage Decode(ReadOnlySpan<byte> file) => PictureReader.Read(file);
}
