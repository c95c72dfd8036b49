using System.Text;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>Opens a file of named tensors; the format is told from its first bytes, not from its name.</summary>
internal static class WeightFile
{
    /// <summary>What is found where a file of tensors should be, by its first bytes.</summary>
    private static readonly (string Start, string What)[] Others =
    [
        ("version h", "a pointer of Git LFS, not the file itself (git lfs pull fetches it)"),
        ("GGUF", "a GGUF file, which is not read; read are safetensors and PyTorch's files"),
        ("<", "a web page or XML, not a file of tensors"),
        ("{", "JSON, not a file of tensors"),
    ];

    /// <exception cref="StableDiffusionException">The file cannot be read, or is damaged or of another format.</exception>
    public static IWeightFile Open(string path)
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

        // Where these are read as a length, it is one of more than 16 MiB.
        if (!isSafetensors && start.Length >= 4 && !start[..4].Contains((byte)0) && Encoding.Latin1.GetString(start) is var text
            && Others.FirstOrDefault(o => text.StartsWith(o.Start, StringComparison.Ordinal)).What is { } what)
        {
            throw new StableDiffusionException($"{path}: is {what}");
        }

        return !isSafetensors && TorchFile.Looks(start) ? TorchFile.Open(path) : SafetensorsFile.Open(path);
    }
}
