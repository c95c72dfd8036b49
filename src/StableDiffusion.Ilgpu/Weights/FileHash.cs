using System.Security.Cryptography;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>The hash that tools know a model file by.</summary>
internal static class FileHash
{
    /// <summary>How many digits AUTOMATIC1111's web UI writes into pictures for a model or autoencoder, and for a LoRA or embedding.</summary>
    public const int ModelDigits = 10, AdditionDigits = 12;

    /// <summary>SHA-256 of a file's bytes, 64 hex digits.</summary>
    /// <exception cref="StableDiffusionException">The file cannot be read.</exception>
    public static string Sha256(string path) => Sha256(path, 0);

    /// <summary>The same without the file's first bytes.</summary>
    /// <exception cref="StableDiffusionException">The file cannot be read.</exception>
    public static string Sha256(string path, long skipped)
    {
        try
        {
            using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 20, FileOptions.SequentialScan);
            stream.Position = skipped;
            return Convert.ToHexStringLower(SHA256.HashData(stream));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw StableDiffusionException.CannotRead(path, e);
        }
    }
}
