namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// A tensor of a PyTorch file: a view of a storage. Element (i, j, ...) is the storage's element Start + i Strides[0] + j Strides[1] + ...
/// All elements lie within the storage, and there are no more of them than the storage holds.
/// </summary>
internal sealed class TorchTensor
{
    /// <summary>More dimensions than any model's tensor has.</summary>
    public const int LargestRank = 16;

    /// <exception cref="InvalidDataException">The view reaches beyond its storage; the message is part of a sentence.</exception>
    public TorchTensor(TorchStorage storage, long start, long[] shape, long[] strides)
    {
        (Storage, Start, Shape, Strides) = (storage, start, shape, strides);
        if (shape.Length > LargestRank || shape.Length != strides.Length || start < 0)
        {
            throw Error("");
        }

        try
        {
            (Count, var reach) = (1, 0L);
            for (var d = 0; d < shape.Length; d++)
            {
                Count = shape[d] >= 0 && strides[d] >= 0 ? checked(Count * shape[d]) : throw Error("");
                reach = checked(reach + ((shape[d] - 1) * strides[d]));
            }

            Extent = Count == 0 ? 0 : checked(reach + 1);
            if (checked(start + Extent) > storage.Count)
            {
                throw Error($", but its storage {storage.Key} has {storage.Count} elements");
            }
        }
        catch (OverflowException)
        {
            throw Error(", more than any file holds");
        }

        if (Count > Extent)
        {
            throw Error($", {Count} elements of which some are the same of {Extent}");
        }
    }

    public TorchStorage Storage { get; }

    /// <summary>The first element's place in the storage.</summary>
    public long Start { get; }

    public TensorType Type => Storage.Type;

    /// <summary>Outermost first; empty for a scalar.</summary>
    public long[] Shape { get; }

    /// <summary>For every dimension the elements from one index to the next.</summary>
    public long[] Strides { get; }

    /// <summary>Number of elements.</summary>
    public long Count { get; }

    /// <summary>Elements of the storage from the tensor's first to its last one, both included.</summary>
    public long Extent { get; }

    /// <summary>Where the first element lies, in bytes from the start of the file.</summary>
    public long Offset => Storage.Offset + (Start * SafetensorsHeader.BytesOf(Type));

    /// <summary>Whether the elements lie one behind the other, row-major.</summary>
    public bool IsContiguous
    {
        get
        {
            var expected = 1L;
            for (var d = Shape.Length - 1; d >= 0; d--)
            {
                if (Shape[d] != 1 && Strides[d] != expected)
                {
                    return Count == 0;
                }

                expected *= Shape[d];
            }

            return true;
        }
    }

    private InvalidDataException Error(string problem) =>
        new($"a tensor has shape [{NumberText.Of(Shape)}] with strides [{NumberText.Of(Strides)}] from {NumberText.Of(Start)}{problem}");
}
