namespace StableDiffusion.Ilgpu.Weights;

/// <summary>Opens a file of named tensors; the format is told from its first bytes, not from its name.</summary>
internal static class WeightFile
{
    /// <exception cref="StableDiffusionException">The file cannot be read, or is damaged or of another format.</exception>
    public static IWeightSource Open(string path) => LooksLikeTorch(path) ? TorchFile.Open(path) : SafetensorsFile.Open(path);

    private static bool LooksLikeTorch(string path)
    {
        try
        {
            using var handle = File.OpenHandle(path);

            // The length of a safetensors header may look like the first bytes of a pickle; the JSON text follows it.
            Span<byte> start = stackalloc byte[SafetensorsHeader.LengthBytes + 1];
            var read = start[..RandomAccess.Read(handle, start, 0)];
            return TorchFile.Looks(read) && read[^1] != '{';
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StableDiffusionException($"{path}: cannot be read: {e.Message}", e);
        }
    }
}
