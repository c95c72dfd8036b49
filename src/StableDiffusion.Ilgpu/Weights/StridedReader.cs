using System.Runtime.CompilerServices;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>Stored elements to fp32 or fp16.</summary>
internal delegate void ElementConversion<T>(TensorType type, ReadOnlySpan<byte> source, Span<T> destination);

/// <summary>
/// Reads tensors whose elements do not lie row-major one behind the other, a transposed matrix for example. Maps the tensor's whole
/// extent for the time of the read, because it may be visited in any order.
/// </summary>
internal static class StridedReader
{
    private const int BlockElements = 2048;

    /// <param name="file">The file.</param>
    /// <param name="tensor">A tensor of floats.</param>
    /// <param name="destination">As many elements as the tensor has, row-major.</param>
    /// <param name="convert">From the stored type.</param>
    public static unsafe void Read<T>(TensorFile file, TorchTensor tensor, Span<T> destination, ElementConversion<T> convert)
    {
        var size = SafetensorsHeader.BytesOf(tensor.Type);
        using var window = file.Map(tensor.Offset, tensor.Extent * size);
        Span<byte> block = stackalloc byte[BlockElements * sizeof(double)];
        Span<long> index = stackalloc long[tensor.Shape.Length];
        index.Clear();
        var source = window.Pointer;
        for (var start = 0; start < destination.Length; start += BlockElements)
        {
            var part = destination[start..Math.Min(start + BlockElements, destination.Length)];
            for (var i = 0; i < part.Length; i++)
            {
                Copy(source, ref block[i * size], size);
                source += size * Advance(tensor, index);
            }

            convert(tensor.Type, block[..(part.Length * size)], part);
        }
    }

    private static unsafe void Copy(byte* source, ref byte destination, int size)
    {
        switch (size)
        {
            case sizeof(byte):
                destination = *source;
                break;
            case sizeof(ushort):
                Unsafe.WriteUnaligned(ref destination, Unsafe.ReadUnaligned<ushort>(source));
                break;
            case sizeof(uint):
                Unsafe.WriteUnaligned(ref destination, Unsafe.ReadUnaligned<uint>(source));
                break;
            default:
                Unsafe.WriteUnaligned(ref destination, Unsafe.ReadUnaligned<ulong>(source));
                break;
        }
    }

    /// <summary>Steps to the next index, the last dimension first; gives how many elements of the storage lie between the two.</summary>
    private static long Advance(TorchTensor tensor, Span<long> index)
    {
        var distance = 0L;
        for (var d = index.Length - 1; d >= 0; d--)
        {
            distance += tensor.Strides[d];
            if (++index[d] < tensor.Shape[d])
            {
                return distance;
            }

            distance -= tensor.Strides[d] * tensor.Shape[d];
            index[d] = 0;
        }

        return distance; // back at the first element, behind the last one
    }
}
