using System.Buffers.Binary;
using ImageMagick;

namespace StableDiffusion.Ilgpu.Imaging;

/// <summary>Several pictures of one size, one after the other, in one file: side by side in a PNG, or as an animation.</summary>
internal static class StepsPicture
{
    /// <summary>What the extension stands for: pictures side by side, animated PNG, animated WebP.</summary>
    public static IReadOnlyList<string> Extensions { get; } = [".png", ".apng", ".webp"];

    /// <summary>Wider strips are broken into rows.</summary>
    private const int MostPixelsAcross = 16384;

    private const int HundredthsPerFrame = 10;
    private const int HundredthsOfLastFrame = 200;
    private const int WebPQuality = 90;

    /// <summary>Of a side, by the format.</summary>
    private const int MostPixelsOfWebP = 16383;

    /// <summary>Encodes frames in the format of an extension.</summary>
    /// <param name="extension">One of <see cref="Extensions"/>, in any case.</param>
    /// <param name="frames">At least one; those of another size than the last one's are brought to it by repeating pixels.</param>
    /// <param name="parameters">Text for the PNG formats to carry.</param>
    /// <exception cref="StableDiffusionException">The extension is another one, or its format has no room for the frames.</exception>
    public static byte[] Encode(string extension, IReadOnlyList<GeneratedImage> frames, string parameters) => extension.ToLowerInvariant() switch
    {
        ".png" => Strip(OfOneSize(frames), parameters),
        ".apng" => AnimatedPng(OfOneSize(frames), parameters),
        ".webp" => AnimatedWebP(OfOneSize(frames)),
        _ => throw new StableDiffusionException($"the extension '{extension}' cannot be used; valid: {string.Join(", ", Extensions)}"),
    };

    /// <summary>Finds out beforehand whether <see cref="Encode"/> can write this format.</summary>
    /// <exception cref="StableDiffusionException">It takes the image library, which is not there.</exception>
    public static void CheckLibrary(string extension)
    {
        if (extension.Equals(".webp", StringComparison.OrdinalIgnoreCase))
        {
            ImageLibrary.Require("write WebP files");
        }
    }

    private static List<GeneratedImage> OfOneSize(IReadOnlyList<GeneratedImage> frames)
    {
        var (width, height) = (frames[^1].Width, frames[^1].Height);
        return [.. frames.Select(f => f.Width == width && f.Height == height ? f : Resize(f, width, height))];
    }

    private static GeneratedImage Resize(GeneratedImage frame, int width, int height)
    {
        var pixels = new byte[3 * width * height];
        for (var y = 0; y < height; y++)
        {
            for (var x = 0; x < width; x++)
            {
                var source = (y * frame.Height / height * frame.Width) + (x * frame.Width / width);
                frame.Pixels.Span.Slice(3 * source, 3).CopyTo(pixels.AsSpan(3 * ((y * width) + x)));
            }
        }

        return new GeneratedImage(width, height, pixels, frame.Seed, "");
    }

    private static byte[] Strip(List<GeneratedImage> frames, string parameters)
    {
        var (width, height) = (frames[0].Width, frames[0].Height);
        var columns = Math.Clamp(MostPixelsAcross / width, 1, frames.Count);
        var rows = (frames.Count + columns - 1) / columns;
        var bytes = 3L * width * columns * height * rows;
        var pixels = bytes <= Array.MaxLength ? new byte[bytes]
            : throw new StableDiffusionException(
                $"{frames.Count} pictures of {width}x{height} pixels have no room side by side in one file; take fewer of them, or choose .apng or .webp");
        for (var i = 0; i < frames.Count; i++)
        {
            for (var y = 0; y < height; y++)
            {
                var target = (((i / columns * height) + y) * columns) + (i % columns);
                frames[i].Pixels.Span.Slice(3 * width * y, 3 * width).CopyTo(pixels.AsSpan(3 * width * target));
            }
        }

        return PngWriter.Encode(width * columns, height * rows, pixels, parameters);
    }

    /// <summary>PNG specification, third edition, sections 4.9 and 11.3.6: the first frame is the picture of readers that do not animate.</summary>
    private static byte[] AnimatedPng(List<GeneratedImage> frames, string parameters)
    {
        using var file = new MemoryStream();
        file.Write(PngChunks.Signature);
        var sequence = 0;
        for (var i = 0; i < frames.Count; i++)
        {
            var chunks = PngChunks.Read(PngWriter.Encode(frames[i].Width, frames[i].Height, frames[i].Pixels.Span, ""));
            if (i == 0)
            {
                file.Write(PngChunks.Make("IHDR", chunks[0].Data.Span));
                file.Write(PngChunks.Make("acTL", [.. BigEndian(frames.Count), .. BigEndian(0)]));
                if (parameters.Length > 0)
                {
                    file.Write(PngText.Chunk(PngWriter.Keyword, parameters));
                }
            }

            // Number, size, place, delay in hundredths of a second; each frame replaces all of the one before.
            var delay = i == frames.Count - 1 ? HundredthsOfLastFrame : HundredthsPerFrame;
            file.Write(PngChunks.Make(
                "fcTL",
                [
                    .. BigEndian(sequence++), .. BigEndian(frames[i].Width), .. BigEndian(frames[i].Height), .. BigEndian(0), .. BigEndian(0),
                    0, (byte)delay, 0, 100, 0, 0,
                ]));
            foreach (var (_, data) in chunks.Where(c => c.Type == "IDAT"))
            {
                file.Write(i == 0 ? PngChunks.Make("IDAT", data.Span) : PngChunks.Make("fdAT", [.. BigEndian(sequence++), .. data.Span]));
            }
        }

        file.Write(PngChunks.Make("IEND", []));
        return file.ToArray();
    }

    private static byte[] AnimatedWebP(List<GeneratedImage> frames)
    {
        if (frames[0] is { } first && (first.Width > MostPixelsOfWebP || first.Height > MostPixelsOfWebP))
        {
            throw new StableDiffusionException(
                $"pictures of {first.Width}x{first.Height} pixels have no room in a WebP file, which takes {MostPixelsOfWebP} a side; valid: .png, .apng");
        }

        CheckLibrary(".webp");
        using var animation = new MagickImageCollection();
        foreach (var frame in frames)
        {
            var image = new MagickImage();
            animation.Add(image);
            image.ReadPixels(
                frame.Pixels.Span, new PixelReadSettings((uint)frame.Width, (uint)frame.Height, StorageType.Char, PixelMapping.RGB));
            image.AnimationDelay = (uint)(ReferenceEquals(frame, frames[^1]) ? HundredthsOfLastFrame : HundredthsPerFrame);
            image.AnimationTicksPerSecond = 100;
            image.AnimationIterations = 0;
            image.Quality = WebPQuality;
        }

        return animation.ToByteArray(MagickFormat.WebP);
    }

    private static byte[] BigEndian(int value)
    {
        var bytes = new byte[sizeof(int)];
        BinaryPrimitives.WriteInt32BigEndian(bytes, value);
        return bytes;
    }
}
