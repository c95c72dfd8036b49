using Microsoft.Win32.SafeHandles;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>A safetensors file.</summary>
internal sealed class SafetensorsFile : IWeightFile
{
    private readonly SafetensorsHeader header;
    private readonly TensorFile file;

    private SafetensorsFile(string path, SafetensorsHeader header, TensorFile file) =>
        (Description, this.header, this.file) = (path, header, file);

    public string Description { get; }

    public IReadOnlyDictionary<string, TensorInfo> Tensors => header.Tensors;

    /// <summary>Bytes of the file before the tensors'.</summary>
    public long DataStart => header.DataStart;

    /// <summary>A text of the header's __metadata__; null where there is none of that name.</summary>
    public string? FindMetadata(string key) => header.FindMetadata(key);

    /// <exception cref="StableDiffusionException">The file cannot be read or is not a valid safetensors file.</exception>
    public static SafetensorsFile Open(string path)
    {
        SafeFileHandle? handle = null;
        try
        {
            handle = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read);
            var file = handle;
            var length = RandomAccess.GetLength(file);
            var header = SafetensorsHeader.Parse(path, length, (offset, bytes) => TensorFile.ReadExactly(file, offset, bytes));
            var tensors = new TensorFile(path, file);
            handle = null;
            return new SafetensorsFile(path, header, tensors);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw StableDiffusionException.CannotRead(path, e);
        }
        finally
        {
            handle?.Dispose();
        }
    }

    public void Read(string name, Span<float> destination)
    {
        _ = WeightCheck.Readable(this, name, destination.Length);
        Locate(name).Read(destination);
    }

    public void Read(string name, Span<ushort> destination)
    {
        _ = WeightCheck.Readable(this, name, destination.Length);
        Locate(name).Read(destination);
    }

    public StoredTensor Locate(string name) => new(file, header.Tensors[name].Type, header.Offsets[name]);

    public string Sha256(long skipped = 0) => file.Sha256(skipped);

    public void Dispose() => file.Dispose();
}
