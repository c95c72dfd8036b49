using System.Buffers;
using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// An open file of tensors. Reads go straight to their destination, not through mapped pages: those would stay in the process's resident
/// set, and taking them away again interrupts every other thread. Reading is thread-safe.
/// </summary>
/// <param name="path">For messages.</param>
/// <param name="handle">Owned from here on; closed with this.</param>
internal sealed class TensorFile(string path, SafeFileHandle handle) : IDisposable
{
    /// <summary>Bytes that are read at once where they are converted.</summary>
    private const int BlockBytes = 1 << 16;

    /// <summary>Reads elements that lie one behind the other from an offset in bytes.</summary>
    /// <exception cref="StableDiffusionException">The file cannot be read, or ends before.</exception>
    public void Read(TensorType type, long offset, Span<float> destination)
    {
        if (type == TensorType.F32)
        {
            ReadBytes(offset, MemoryMarshal.AsBytes(destination));
        }
        else
        {
            Read(type, offset, destination, FloatConversion.ToSingle);
        }
    }

    /// <summary>The same as bit patterns of fp16.</summary>
    /// <exception cref="StableDiffusionException">The file cannot be read, or ends before.</exception>
    public void Read(TensorType type, long offset, Span<ushort> destination)
    {
        if (type == TensorType.F16)
        {
            ReadBytes(offset, MemoryMarshal.AsBytes(destination));
        }
        else
        {
            Read(type, offset, destination, FloatConversion.ToHalf);
        }
    }

    /// <summary>A mapped range of bytes, which must lie within the file; the file must not be shortened while it is mapped.</summary>
    public Window Map(long offset, long count) => new(handle, offset, count);

    /// <summary>SHA-256 of the file without its first bytes, 64 hex digits.</summary>
    /// <exception cref="StableDiffusionException">The file cannot be read.</exception>
    public string Sha256(long skipped) => FileHash.Sha256(handle, path, skipped);

    public void Dispose() => handle.Dispose();

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

    private void Read<T>(TensorType type, long offset, Span<T> destination, ElementConversion<T> convert)
    {
        var size = SafetensorsHeader.BytesOf(type);
        var block = ArrayPool<byte>.Shared.Rent(BlockBytes);
        try
        {
            for (var start = 0; start < destination.Length; start += BlockBytes / size)
            {
                var part = destination[start..Math.Min(start + (BlockBytes / size), destination.Length)];
                var bytes = block.AsSpan(0, part.Length * size);
                ReadBytes(offset + ((long)start * size), bytes);
                convert(type, bytes, part);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(block);
        }
    }

    private void ReadBytes(long offset, Span<byte> bytes)
    {
        try
        {
            ReadExactly(handle, offset, bytes);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw StableDiffusionException.CannotRead(path, e);
        }
    }

    /// <summary>A mapped range of bytes.</summary>
    public readonly unsafe ref struct Window : IDisposable
    {
        private readonly MemoryMappedFile map;
        private readonly MemoryMappedViewAccessor view;

        public Window(SafeFileHandle file, long offset, long count)
        {
            map = MemoryMappedFile.CreateFromFile(
                file, mapName: null, capacity: 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
            view = map.CreateViewAccessor(offset, count, MemoryMappedFileAccess.Read);
            byte* pointer = null;
            view.SafeMemoryMappedViewHandle.AcquirePointer(ref pointer);
            Pointer = pointer + view.PointerOffset;
        }

        public byte* Pointer { get; }

        public void Dispose()
        {
            view.SafeMemoryMappedViewHandle.ReleasePointer();
            view.Dispose();
            map.Dispose();
        }
    }
}
