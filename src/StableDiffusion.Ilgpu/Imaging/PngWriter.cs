using ImageMagick;

namespace StableDiffusion.Ilgpu.Imaging;

/// <summary>Writes pictures as PNG files: whole or not at all.</summary>
internal static class PngWriter
{
    /// <summary>The keyword of the text chunk that Stable Diffusion tools read.</summary>
    public const string Keyword = "parameters";

    /// <summary>
    /// zlib's level 4, with libpng's choice of a filter for each row (6): a few percent larger than by the library's own choice, level 7, in a third to a half less time.
    /// </summary>
    private const int LibraryQuality = 46;

    /// <summary>Encodes a picture and puts it in place of <paramref name="path"/>.</summary>
    /// <param name="path">The file; its folder must exist.</param>
    /// <param name="width">Width in pixels.</param>
    /// <param name="height">Height in pixels.</param>
    /// <param name="pixels">Rows from the top, bytes R, G, B.</param>
    /// <param name="parameters">Text of the chunk <see cref="Keyword"/>; left out when empty.</param>
    /// <exception cref="StableDiffusionException">The file cannot be written.</exception>
    public static void Write(string path, int width, int height, ReadOnlySpan<byte> pixels, string parameters) =>
        Replace(path, Encode(width, height, pixels, parameters));

    /// <summary>Puts a file's bytes in place of <paramref name="path"/> in one go.</summary>
    /// <exception cref="StableDiffusionException">The file cannot be written; an existing one stays as it was.</exception>
    public static void Replace(string path, byte[] file)
    {
        string? temporary = null;
        try
        {
            var target = TargetOf(path);
            temporary = FinishedFile.TemporaryBeside(target);
            File.WriteAllBytes(temporary, file);
            FinishedFile.Move(temporary, target);
        }
        catch (Exception e) when (IsFileError(e))
        {
            DeleteQuietly(temporary);
            throw CannotWrite(path, e);
        }
    }

    /// <summary>Finds out, without changing anything, whether a picture can be written here later.</summary>
    /// <exception cref="StableDiffusionException">It cannot.</exception>
    public static void CheckWritable(string path) => CheckWritable([path], CancellationToken.None);

    /// <summary>The same for many: what their folders take is tried once for each of those.</summary>
    /// <exception cref="StableDiffusionException">One of them cannot be written.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public static void CheckWritable(IEnumerable<string> paths, CancellationToken cancellationToken)
    {
        var folders = new HashSet<string>();
        foreach (var path in paths)
        {
            cancellationToken.ThrowIfCancellationRequested();
            try
            {
                var target = TargetOf(path);
                FinishedFile.CheckReplaceable(target);
                if (folders.Add(FinishedFile.FolderOf(target)))
                {
                    using var probe = new FileStream(
                        FinishedFile.TemporaryBeside(target), FileMode.CreateNew, FileAccess.Write, FileShare.None, 1, FileOptions.DeleteOnClose);
                }
            }
            catch (Exception e) when (IsFileError(e))
            {
                throw CannotWrite(path, e);
            }
        }
    }

    /// <summary>The bytes of a PNG file: 8-bit RGB, the text chunk, and no other ancillary chunk.</summary>
    public static byte[] Encode(int width, int height, ReadOnlySpan<byte> pixels, string parameters)
    {
        if (pixels.Length != 3 * width * height)
        {
            throw new ArgumentException($"{pixels.Length} bytes are not {width}x{height} RGB pixels", nameof(pixels));
        }

        var png = ImageLibrary.IsPresent ? EncodeByLibrary(width, height, pixels) : PlainPng.Encode(width, height, pixels);
        return parameters.Length == 0 ? png : PngText.Insert(png, Keyword, parameters);
    }

    private static byte[] EncodeByLibrary(int width, int height, ReadOnlySpan<byte> pixels)
    {
        using var image = new MagickImage();
        image.ReadPixels(pixels, new PixelReadSettings((uint)width, (uint)height, StorageType.Char, PixelMapping.RGB));

        // Png24 keeps grey pictures in RGB; the other chunks would carry dates and guesses about the colour space.
        image.Format = MagickFormat.Png24;
        image.Quality = LibraryQuality;
        image.Settings.SetDefine(MagickFormat.Png, "exclude-chunks", "all");
        return image.ToByteArray();
    }

    /// <summary>The file that is written for a path, whose name can be one.</summary>
    private static string TargetOf(string path)
    {
        RequireFileName(path);
        var target = FinishedFile.TargetOf(path);
        if (target != path)
        {
            RequireFileName(target);
        }

        return target;
    }

    private static void RequireFileName(string path)
    {
        if (path.Length == 0 || Path.EndsInDirectorySeparator(path) || Directory.Exists(path))
        {
            throw new IOException(path.Length == 0 ? "the name is empty" : "it is a folder");
        }

        FinishedFile.CheckName(path);
        if (!Directory.Exists(FinishedFile.FolderOf(path)))
        {
            throw new IOException($"there is no folder '{FinishedFile.FolderOf(path)}'");
        }
    }

    private static bool IsFileError(Exception e) =>
        e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException;

    private static void DeleteQuietly(string? path)
    {
        try
        {
            if (path is not null)
            {
                File.Delete(path);
            }
        }
        catch (Exception e) when (IsFileError(e))
        {
            // The first error is the one to report.
        }
    }

    private static StableDiffusionException CannotWrite(string path, Exception e) => new($"cannot write '{path}': {FinishedFile.Reason(e)}", e);
}
