namespace StableDiffusion.Ilgpu.Weights;

/// <summary>Element types that a weight file may hold.</summary>
internal enum TensorType { F64, F32, F16, BF16, I64, I32, I16, I8, U8, Bool, F8_E4M3, F8_E5M2 }

/// <summary>Name, element type and row-major shape (outermost first; empty for a scalar) of a stored tensor.</summary>
internal sealed record TensorInfo(string Name, TensorType Type, long[] Shape)
{
    /// <summary>Number of elements; 1 for a scalar.</summary>
    public long Count => Shape.Aggregate(1L, (a, b) => a * b);

    public string ShapeText => "[" + string.Join(", ", Shape) + "]";
}

/// <summary>
/// The named tensors of one model component (text encoder, UNet or autoencoder), under diffusers' parameter names.
/// Reading is thread-safe.
/// </summary>
internal interface IWeightSource : IDisposable
{
    /// <summary>What messages call this source: usually the file's path.</summary>
    string Description { get; }

    IReadOnlyDictionary<string, TensorInfo> Tensors { get; }

    /// <summary>Copies a float tensor (F32, F16, BF16, F64 or fp8), row-major, converted to fp32. The span's length is the tensor's count.</summary>
    void Read(string name, Span<float> destination);

    /// <summary>The same, rounded to fp16 (nearest even) and given as bit patterns.</summary>
    void Read(string name, Span<ushort> destination);

    /// <summary>Where a tensor's elements lie in a file, row-major, so that parts can be read; null where only a whole read gives them.</summary>
    StoredTensor? Locate(string name) => null;
}

/// <summary>The tensors of one file, which is open.</summary>
internal interface IWeightFile : IWeightSource
{
    /// <summary>SHA-256 of the file that is open, 64 hex digits: its name may be another file's by now, or nobody's.</summary>
    /// <param name="skipped">Bytes at its beginning that do not count.</param>
    /// <exception cref="StableDiffusionException">The file cannot be read.</exception>
    string Sha256(long skipped = 0);
}
