namespace StableDiffusion.Ilgpu.Weights;

/// <summary>Elements that lie one behind the other in a file, from an offset in bytes. Reading is thread-safe.</summary>
internal sealed record StoredTensor(TensorFile File, TensorType Type, long Offset)
{
    /// <summary>The same from the element <paramref name="first"/> on.</summary>
    public StoredTensor From(long first) => this with { Offset = Offset + (first * SafetensorsHeader.BytesOf(Type)) };

    /// <summary>Copies the first elements, converted to fp32.</summary>
    public void Read(Span<float> destination) => File.Read(Type, Offset, destination);

    /// <summary>The same as bit patterns of fp16.</summary>
    public void Read(Span<ushort> destination) => File.Read(Type, Offset, destination);
}
