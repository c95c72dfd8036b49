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
        var text = $"[{string.Join(", ", shape)}] with strides [{string.Join(", ", strides)}] from {start}";
        if (shape.Length > LargestRank || shape.Length != strides.Length || start < 0 || shape.Any(d => d < 0) || strides.Any(s => s < 0))
        {
            throw new InvalidDataException($"of shape {text}");
        }

        try
        {
            Count = shape.Aggregate(1L, (a, b) => checked(a * b));
            Extent = Count == 0 ? 0 : shape.Zip(strides).Aggregate(1L, (sum, d) => checked(sum + ((d.First - 1) * d.Second)));
            if (checked(start + Extent) > storage.Count)
            {
                throw new InvalidDataException($"of shape {text}, but its storage {storage.Key} has {storage.Count} elements");
            }
        }
        catch (OverflowException)
        {
            throw new InvalidDataException($"of shape {text}, more than any file holds");
        }

        if (Count > Math.Max(Extent, 1))
        {
            throw new InvalidDataException($"of shape {text}, {Count} elements of which some are the same {Extent}");
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
}
