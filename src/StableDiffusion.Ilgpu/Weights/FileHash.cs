using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>The hash that tools know a model file by.</summary>
internal static class FileHash
{
    /// <summary>How many digits AUTOMATIC1111's web UI writes into pictures for a model or autoencoder, and for a LoRA or embedding.</summary>
    public const int ModelDigits = 10, AdditionDigits = 12;

    private const int BlockBytes = 1 << 20;

    /// <summary>SHA-256 of an open file's bytes, 64 hex digits.</summary>
    /// <param name="file">The file.</param>
    /// <param name="path">For messages.</param>
    /// <param name="skipped">Bytes at its beginning that do not count.</param>
    /// <exception cref="StableDiffusionException">The file cannot be read.</exception>
    public static string Sha256(SafeFileHandle file, string path, long skipped)
    {
        try
        {
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            var block = GC.AllocateUninitializedArray<byte>(BlockBytes);
            for (int read; (read = RandomAccess.Read(file, block, skipped)) > 0; skipped += read)
            {
                hash.AppendData(block, 0, read);
            }

            return Convert.ToHexStringLower(hash.GetHashAndReset());
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw StableDiffusionException.CannotRead(path, e);
        }
    }
}
