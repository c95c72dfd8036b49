using ImageMagick;

namespace StableDiffusion.Ilgpu.Imaging;

/// <summary>Reads pictures that other people made.</summary>
internal static class PictureReader
{
    private const int LargestSide = 16384;
    private const long MostPixels = 1L << 27;
    private const long LargestFile = 1L << 29;

    // For all pictures that are held at a time: what is not refused by its size takes up to 4 bytes a pixel, and a copy while it is turned.
    private const ulong MostMemory = 1UL << 32;

    // The library of any other format, some of which run programs, must never see a file.
    private const string Kinds = "PNG, JPEG, WebP";

    private static ReadOnlySpan<byte> PngSignature => [0x89, (byte)'P', (byte)'N', (byte)'G', (byte)'\r', (byte)'\n', 0x1a, (byte)'\n'];

    private static ReadOnlySpan<byte> JpegStart => [0xff, 0xd8, 0xff];

    /// <exception cref="StableDiffusionException">The file is missing, of another kind, damaged or too large.</exception>
    public static InputImage Read(string path)
    {
        var name = $" '{path}'";
        try
        {
            return Read(name, BoundedFile.Read(path, LargestFile, "a picture"));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw CannotRead(name, FileReason(path, e), e);
        }
    }

    /// <exception cref="StableDiffusionException">The file is of another kind, damaged or too large.</exception>
    public static InputImage Read(ReadOnlySpan<byte> file) => Read("", file);

    /// <param name="name">What messages say after "the picture".</param>
    /// <param name="bytes">The file.</param>
    private static InputImage Read(string name, ReadOnlySpan<byte> bytes)
    {
        var format = FormatOf(bytes) ?? throw CannotRead(name, $"it is {OtherKind(bytes)}; valid: {Kinds}");
        try
        {
            return Decode(name, bytes, format);
        }
        catch (MagickException e)
        {
            var reason = e is MagickResourceLimitErrorException or MagickCacheErrorException
                ? "it needs more memory than a picture may have" : "it is damaged or cut short";
            throw CannotRead(name, $"{reason} ({Reason(e)})", e);
        }
    }

    private static InputImage Decode(string name, ReadOnlySpan<byte> bytes, MagickFormat format)
    {
        if (!ImageLibrary.IsPresent)
        {
            throw CannotRead(name, ImageLibrary.Missing);
        }

        // Memory that runs out is an error; the image library would go on in temporary files otherwise. Its limits are the process's: a lower one stays.
        ResourceLimits.Memory = Math.Min(ResourceLimits.Memory, MostMemory);
        ResourceLimits.Disk = 0;
        var settings = new MagickReadSettings { Format = format, FrameIndex = 0, FrameCount = 1 };
        if (format == MagickFormat.Png && PictureParts.SizeOfPng(bytes) is var (width, height))
        {
            CheckSize(name, width, height);
        }

        var parts = format switch
        {
            MagickFormat.Png => PictureParts.OfPng(bytes),
            MagickFormat.WebP => PictureParts.OfWebP(bytes),
            _ => bytes,
        };
        using var image = new MagickImage();
        image.Ping(parts, settings);
        CheckSize(name, image.Width, image.Height);

        // A JPEG that ends too early is a warning only, and grey from there on. Other warnings are about things that do not show.
        string? cut = null;
        image.Warning += (_, warning) => cut ??= IsCut(warning.Message) ? warning.Message : null;
        image.Read(parts, settings);
        if (cut is not null)
        {
            throw CannotRead(name, "it is damaged or cut short");
        }

        image.AutoOrient();
        ToSrgb(image);
        image.BackgroundColor = MagickColors.White;
        image.Alpha(AlphaAction.Remove);
        using var pixels = image.GetPixelsUnsafe();
        var rgb = pixels.ToByteArray(PixelMapping.RGB) ?? throw CannotRead(name, "it has no pixels");
        return new InputImage((int)image.Width, (int)image.Height, rgb);
    }

    private static void CheckSize(string name, long width, long height)
    {
        if (width > LargestSide || height > LargestSide || width * height > MostPixels)
        {
            throw CannotRead(name, $"it has {width}x{height} pixels; valid: up to {LargestSide} a side and {MostPixels} in all");
        }
    }

    private static void ToSrgb(MagickImage image)
    {
        try
        {
            if (image.GetColorProfile() is not null)
            {
                image.TransformColorSpace(ColorProfiles.SRGB);
            }
        }
        catch (MagickException)
        {
            // A profile that cannot be used is left aside, as viewers do.
        }

        if (image.ColorSpace != ColorSpace.sRGB)
        {
            image.ColorSpace = ColorSpace.sRGB;
        }
    }

    private static MagickFormat? FormatOf(ReadOnlySpan<byte> bytes) =>
        bytes.StartsWith(PngSignature) ? MagickFormat.Png
        : bytes.StartsWith(JpegStart) ? MagickFormat.Jpeg
        : bytes.StartsWith("RIFF"u8) && bytes.Length >= 12 && bytes[8..12].SequenceEqual("WEBP"u8) ? MagickFormat.WebP
        : null;

    private static string OtherKind(ReadOnlySpan<byte> bytes) =>
        bytes.IsEmpty ? "empty"
        : bytes.StartsWith("GIF8"u8) ? "a GIF"
        : bytes.StartsWith("BM"u8) ? "a BMP"
        : bytes.StartsWith("II*\0"u8) || bytes.StartsWith("MM\0*"u8) ? "a TIFF"
        : bytes.Length >= 12 && bytes[4..8].SequenceEqual("ftyp"u8) ? "an AVIF, HEIC or video file"
        : "none of the kinds that can be read";

    private static bool IsCut(string message) => message.Contains("premature end", StringComparison.OrdinalIgnoreCase);

    // "message `file' @ error/png.c/ReadPNGImage/4312"
    private static string Reason(MagickException e) => e.Message.Split(" @ ")[0].Replace("`'", "", StringComparison.Ordinal).Trim();

    private static string FileReason(string path, Exception e) => e switch
    {
        _ when path.Length == 0 => "the name is empty",
        _ when Directory.Exists(path) => "it is a folder",
        ArgumentException => "no file can have this name",
        FileNotFoundException or DirectoryNotFoundException => "there is no such file",
        UnauthorizedAccessException => "access is denied",
        _ => e.Message,
    };

    private static StableDiffusionException CannotRead(string name, string reason, Exception? inner = null)
    {
        var message = $"cannot read the picture{name}: {reason}";
        return inner is null ? new StableDiffusionException(message) : new StableDiffusionException(message, inner);
    }
}
