using System.IO.MemoryMappedFiles;
using Microsoft.Win32.SafeHandles;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// A safetensors file, memory-mapped. Each read maps a window of the file and unmaps it again, so that the file's pages do not stay
/// in the process's resident set. The file must not be shortened by others while it is open.
/// </summary>
internal sealed class SafetensorsFile : IWeightSource
{
    /// <summary>Elements that one window covers: at most 16 MiB of file.</summary>
    private const int WindowElements = 1 << 21;

    private readonly SafetensorsHeader header;
    private readonly MemoryMappedFile map;

    private SafetensorsFile(string path, SafetensorsHeader header, MemoryMappedFile map) =>
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
            var header = SafetensorsHeader.Parse(path, length, (offset, bytes) => ReadExactly(file, offset, bytes));
            var map = MemoryMappedFile.CreateFromFile(
                file, mapName: null, capacity: 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: false);
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
        var (type, offset) = Find(name, destination.Length);
        for (var start = 0; start < destination.Length; start += WindowElements)
        {
            var part = destination[start..Math.Min(start + WindowElements, destination.Length)];
            using var window = new Window(map, offset, type, start, part.Length);
            FloatConversion.ToSingle(type, window.Bytes, part);
        }
    }

    public void Read(string name, Span<ushort> destination)
    {
        var (type, offset) = Find(name, destination.Length);
        for (var start = 0; start < destination.Length; start += WindowElements)
        {
            var part = destination[start..Math.Min(start + WindowElements, destination.Length)];
            using var window = new Window(map, offset, type, start, part.Length);
            FloatConversion.ToHalf(type, window.Bytes, part);
        }
    }

    public void Dispose() => map.Dispose();

    private (TensorType Type, long Offset) Find(string name, int length)
    {
        var info = WeightCheck.Readable(this, name, length);
        return (info.Type, header.Offsets[name]);
    }

    private static void ReadExactly(SafeFileHandle file, long offset, byte[] bytes)
    {
        for (var done = 0; done < bytes.Length;)
        {
            var read = RandomAccess.Read(file, bytes.AsSpan(done), offset + done);
            done += read > 0 ? read : throw new EndOfStreamException("the file ended while it was read");
        }
    }

    /// <summary>A mapped range of elements.</summary>
    private readonly unsafe ref struct Window : IDisposable
    {
        private readonly MemoryMappedViewAccessor view;

        public Window(MemoryMappedFile map, long offset, TensorType type, int start, int count)
        {
            var size = SafetensorsHeader.BytesOf(type);
            view = map.CreateViewAccessor(offset + ((long)start * size), (long)count * size, MemoryMappedFileAccess.Read);
            byte* pointer = null;
            view.SafeMemoryMappedViewHandle.AcquirePointer(ref pointer);
            Bytes = new ReadOnlySpan<byte>(pointer + view.PointerOffset, count * size);
        }

        public ReadOnlySpan<byte> Bytes { get; }

        public void Dispose()
        {
            view.SafeMemoryMappedViewHandle.ReleasePointer();
            view.Dispose();
        }
    }
}
