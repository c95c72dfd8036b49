using StableDiffusion.Ilgpu.Imaging;

namespace StableDiffusion.Ilgpu;

/// <summary>A finished picture: 8-bit RGB, with the parameters that made it.</summary>
public sealed class GeneratedImage
{
    internal GeneratedImage(int width, int height, byte[] pixels, long seed, string parameters) =>
        (Width, Height, Pixels, Seed, Parameters) = (width, height, pixels, seed, parameters);

    /// <summary>Width in pixels.</summary>
    public int Width { get; }

    /// <summary>Height in pixels.</summary>
    public int Height { get; }

    /// <summary>Rows from the top, pixels from the left, bytes R, G, B; length 3 * Width * Height.</summary>
    public ReadOnlyMemory<byte> Pixels { get; }

    /// <summary>The seed that this picture started from.</summary>
    public long Seed { get; }

    /// <summary>The text of the PNG chunk <c>parameters</c>, in the layout that AUTOMATIC1111's web UI writes and reads.</summary>
    public string Parameters { get; }

    /// <summary>
    /// Writes a 24-bit PNG, whatever the name ends in, that carries <see cref="Parameters"/>. The same picture gives the same bytes. An existing file is
    /// replaced in one go; on an error it stays as it was.
    /// </summary>
    /// <exception cref="StableDiffusionException">The file cannot be written; the message names it and the reason.</exception>
    public void Save(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        PngWriter.Write(path, Width, Height, Pixels.Span, Parameters);
    }

    /// <summary>The bytes of the file that <see cref="Save"/> writes.</summary>
    public byte[] ToPng() => PngWriter.Encode(Width, Height, Pixels.Span, Parameters);
}
