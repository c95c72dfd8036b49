using Microsoft.Win32.SafeHandles;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>A safetensors file, memory-mapped (<see cref="TensorMap"/>).</summary>
internal sealed class SafetensorsFile : IWeightSource
{
    private readonly SafetensorsHeader header;
    private readonly TensorMap map;

    private SafetensorsFile(string path, SafetensorsHeader header, TensorMap map) =>
        (Description, this.header, this.map) = (path, header, map);

    public string Description { get; }

    public IReadOnlyDictionary<string, TensorInfo> Tensors => header.Tensors;

    /// <summary>The texts of the header's __metadata__.</summary>
    public IReadOnlyDictionary<string, string> Metadata => header.Metadata;

    /// <exception cref="StableDiffusionException">The file cannot be read or is not a valid safetensors file.</exception>
    public static SafetensorsFile Open(string path)
    {
        SafeFileHandle? handle = null;
        try
        {
            handle = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read);
            var file = handle;
            var length = RandomAccess.GetLength(file);
            var header = SafetensorsHeader.Parse(path, length, (offset, bytes) => TensorMap.ReadExactly(file, offset, bytes));
            var map = new TensorMap(file);
            handle = null;
            return new SafetensorsFile(path, header, map);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StableDiffusionException($"{path}: cannot be read: {e.Message}", e);
        }
        finally
        {
            handle?.Dispose();
        }
    }

    public void Read(string name, Span<float> destination)
    {
        var info = WeightCheck.Readable(this, name, destination.Length);
        map.Read(info.Type, header.Offsets[name], destination);
    }

    public void Read(string name, Span<ushort> destination)
    {
        var info = WeightCheck.Readable(this, name, destination.Length);
        map.Read(info.Type, header.Offsets[name], destination);
    }

    public void Dispose() => map.Dispose();
}
