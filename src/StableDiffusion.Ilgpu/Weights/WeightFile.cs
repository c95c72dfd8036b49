namespace StableDiffusion.Ilgpu.Weights;

/// <summary>Opens a file of named tensors; the format is told from its first bytes, not from its name.</summary>
internal static class WeightFile
{
    /// <exception cref="StableDiffusionException">The file cannot be read, or is damaged or of another format.</exception>
    public static IWeightSource Open(string path)
    {
        Span<byte> start = stackalloc byte[SafetensorsHeader.LengthBytes + 1];
        try
        {
            using var handle = File.OpenHandle(path);
            _ = RandomAccess.GetLength(handle);
            start = start[..RandomAccess.Read(handle, start, 0)];
        }
        catch (NotSupportedException e)
        {
            throw new StableDiffusionException($"{path}: is a pipe; weights are read in any order, so they have to be in a file", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw StableDiffusionException.CannotRead(path, e);
        }

        // A safetensors file begins with a length, which can begin like any other format: its upper half, which is 0, and the JSON text
        // behind it tell.
        var isSafetensors = start.Length > SafetensorsHeader.LengthBytes && start[^1] == '{'
            && start[4..SafetensorsHeader.LengthBytes].IndexOfAnyExcept((byte)0) < 0;
        return !isSafetensors && TorchFile.Looks(start) ? TorchFile.Open(path) : SafetensorsFile.Open(path);
    }
}
