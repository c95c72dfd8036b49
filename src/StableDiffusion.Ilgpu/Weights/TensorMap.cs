using System.IO.MemoryMappedFiles;
using Microsoft.Win32.SafeHandles;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// A memory-mapped file of tensors. Each read maps a window of the file and unmaps it again, so that the file's pages do not stay
/// in the process's resident set. Who calls has checked that what is read lies within the file, which must not be shortened by others
/// while it is open. Reading is thread-safe.
/// </summary>
internal sealed class TensorMap : IDisposable
{
    /// <summary>Elements that one window covers: at most 16 MiB of file.</summary>
    private const int WindowElements = 1 << 21;

    private readonly MemoryMappedFile map;

    /// <param name="file">Owned from here on; closed with this.</param>
    public TensorMap(SafeFileHandle file) => map = MemoryMappedFile.CreateFromFile(
        file, mapName: null, capacity: 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: false);

    /// <summary>Reads elements that lie one behind the other from an offset in bytes.</summary>
    public void Read(TensorType type, long offset, Span<float> destination)
    {
        var size = SafetensorsHeader.BytesOf(type);
        for (var start = 0; start < destination.Length; start += WindowElements)
        {
            var part = destination[start..Math.Min(start + WindowElements, destination.Length)];
            using var window = new Window(map, offset + ((long)start * size), (long)part.Length * size);
            FloatConversion.ToSingle(type, window.Bytes, part);
        }
    }

    /// <summary>The same as bit patterns of fp16.</summary>
    public void Read(TensorType type, long offset, Span<ushort> destination)
    {
        var size = SafetensorsHeader.BytesOf(type);
        for (var start = 0; start < destination.Length; start += WindowElements)
        {
            var part = destination[start..Math.Min(start + WindowElements, destination.Length)];
            using var window = new Window(map, offset + ((long)start * size), (long)part.Length * size);
            FloatConversion.ToHalf(type, window.Bytes, part);
        }
    }

    /// <summary>A mapped range of bytes.</summary>
    public unsafe Window Map(long offset, long count) => new(map, offset, count);

    public void Dispose() => map.Dispose();

    /// <summary>Fills a buffer with the bytes at an offset of a file.</summary>
    public static void ReadExactly(SafeFileHandle file, long offset, Span<byte> bytes)
    {
        while (bytes.Length > 0)
        {
            var read = RandomAccess.Read(file, bytes, offset);
            if (read == 0)
            {
                throw new EndOfStreamException("the file ended while it was read");
            }

            bytes = bytes[read..];
            offset += read;
        }
    }

    /// <summary>A mapped range of bytes.</summary>
    public readonly unsafe ref struct Window : IDisposable
    {
        private readonly MemoryMappedViewAccessor view;
        private readonly long count;

        public Window(MemoryMappedFile map, long offset, long count)
        {
            view = map.CreateViewAccessor(offset, count, MemoryMappedFileAccess.Read);
            this.count = count;
            byte* pointer = null;
            view.SafeMemoryMappedViewHandle.AcquirePointer(ref pointer);
            Pointer = pointer + view.PointerOffset;
        }

        public byte* Pointer { get; }

        public ReadOnlySpan<byte> Bytes => new(Pointer, checked((int)count));

        public void Dispose()
        {
            view.SafeMemoryMappedViewHandle.ReleasePointer();
            view.Dispose();
        }
    }
}
