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
        using var file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read);
        var length = RandomAccess.GetLength(file);
        if (length > most)
        {
            throw new StableDiffusionException($"{path}: has {length} bytes; {kind} has at most {most}");
        }

        var bytes = new byte[length];
        for (var done = 0; done < bytes.Length;)
        {
            var read = RandomAccess.Read(file, bytes.AsSpan(done), done);
            done += read > 0 ? read : throw new EndOfStreamException("the file ended while it was read");
        }

        return bytes;
    }
}
