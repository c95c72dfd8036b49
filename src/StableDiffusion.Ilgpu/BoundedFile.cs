namespace StableDiffusion.Ilgpu;

/// <summary>Reads small files whole.</summary>
internal static class BoundedFile
{
    /// <param name="path">The file.</param>
    /// <param name="most">Bytes that a file of its kind has at most; a larger one must not decide how much is allocated.</param>
    /// <param name="kind">What messages call such a file, with its article.</param>
    /// <exception cref="StableDiffusionException">The file is larger.</exception>
    /// <exception cref="IOException">The file is not there or cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">The same; a folder, for example.</exception>
    public static byte[] Read(string path, long most, string kind)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
        if (!file.CanSeek)
        {
            return ReadPipe(path, file, most, kind);
        }

        var length = file.Length;
        if (length > most)
        {
            throw new StableDiffusionException($"{path}: has {length} bytes; {kind} has at most {most}");
        }

        var bytes = new byte[length];
        for (var done = 0; done < bytes.Length;)
        {
            var read = file.Read(bytes, done, bytes.Length - done);
            done += read > 0 ? read : throw new EndOfStreamException("the file ended while it was read");
        }

        return bytes;
    }

    /// <summary>A pipe ends when it ends.</summary>
    private static byte[] ReadPipe(string path, FileStream pipe, long most, string kind)
    {
        using var bytes = new MemoryStream();
        var part = new byte[1 << 16];
        for (int read; (read = pipe.Read(part)) > 0;)
        {
            bytes.Write(part, 0, read);
            if (bytes.Length > most)
            {
                throw new StableDiffusionException($"{path}: has more than {most} bytes; {kind} has at most so many");
            }
        }

        return bytes.ToArray();
    }
}
