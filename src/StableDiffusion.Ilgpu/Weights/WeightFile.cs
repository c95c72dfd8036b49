namespace StableDiffusion.Ilgpu.Weights;

/// <summary>Opens a file of named tensors; the format is told from its first bytes, not from its name.</summary>
internal static class WeightFile
{
    /// <exception cref="StableDiffusionException">The file cannot be read, or is damaged or of another format.</exception>
    public static IWeightSource Open(string path) => IsZip(path)
        ? throw new StableDiffusionException($"{path}: is a PyTorch file (zip), which is not read yet; valid: safetensors")
        : SafetensorsFile.Open(path);

    private static bool IsZip(string path)
    {
        try
        {
            using var handle = File.OpenHandle(path);
            Span<byte> start = stackalloc byte[2];
            return RandomAccess.Read(handle, start, 0) == 2 && start.SequenceEqual("PK"u8);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StableDiffusionException($"{path}: cannot be read: {e.Message}", e);
        }
    }
}
