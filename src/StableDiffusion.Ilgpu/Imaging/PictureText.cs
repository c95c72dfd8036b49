namespace StableDiffusion.Ilgpu.Imaging;

/// <summary>A text that a picture's file carries.</summary>
/// <param name="Keyword">The PNG chunk's keyword, or the name of the EXIF field.</param>
/// <param name="Text">The text.</param>
internal sealed record PictureText(string Keyword, string Text)
{
    /// <summary>Larger files are no pictures that a tool of this kind wrote.</summary>
    private const long MostFileBytes = 1L << 30;

    /// <summary>All texts of a PNG, JPEG or WebP file, in the order of the file.</summary>
    /// <exception cref="StableDiffusionException">The file cannot be read, is damaged or of another format.</exception>
    public static IReadOnlyList<PictureText> ReadAll(string path)
    {
        try
        {
            return ReadAll(BoundedFile.Read(path, MostFileBytes, "a picture"));
        }
        catch (Exception e) when (e is InvalidDataException or EndOfStreamException)
        {
            throw new StableDiffusionException($"{path}: {e.Message}", e);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new StableDiffusionException($"{path}: there is no such file", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw StableDiffusionException.CannotRead(path, e);
        }
    }

    /// <summary>The same of a file's bytes.</summary>
    /// <exception cref="InvalidDataException">They are damaged or of another format; the message says so of "it".</exception>
    public static IReadOnlyList<PictureText> ReadAll(ReadOnlyMemory<byte> file) => file.Span switch
    {
        [] => throw new InvalidDataException("it is empty"),
        [0x89, (byte)'P', ..] => PngText.Read(PngChunks.Read(file)),
        [0xff, 0xd8, ..] => JpegText.Read(file.Span),
        [(byte)'R', (byte)'I', (byte)'F', (byte)'F', _, _, _, _, (byte)'W', (byte)'E', (byte)'B', (byte)'P', ..] => WebPText.Read(file.Span),
        _ => throw new InvalidDataException("it is not a PNG, JPEG or WebP file"),
    };
}
