using System.Numerics.Tensors;
using System.Runtime.InteropServices;

namespace StableDiffusion.Ilgpu.Weights.Embeddings;

/// <summary>A text encoder's weights whose token table has further rows at its end. Owns the inner source.</summary>
internal sealed class ExtendedTokenTable : IWeightSource
{
    public const string TableName = "text_model.embeddings.token_embedding.weight";

    private readonly IWeightSource inner;
    private readonly float[] added;

    /// <param name="inner">Holds the table as (vocabulary, width).</param>
    /// <param name="vectors">The new rows.</param>
    public ExtendedTokenTable(IWeightSource inner, IEnumerable<float[]> vectors)
    {
        (this.inner, added) = (inner, [.. vectors.SelectMany(v => v)]);
        var table = inner.Tensors[TableName];
        var width = table.Shape[1];
        var extended = table with { Shape = [table.Shape[0] + (added.Length / width), width] };
        Tensors = new Dictionary<string, TensorInfo>(inner.Tensors) { [TableName] = extended };
    }

    public string Description => inner.Description;

    public IReadOnlyDictionary<string, TensorInfo> Tensors { get; }

    public void Read(string name, Span<float> destination)
    {
        var own = Own(name, destination.Length);
        inner.Read(name, destination[..own]);
        added.AsSpan(0, destination.Length - own).CopyTo(destination[own..]);
    }

    public void Read(string name, Span<ushort> destination)
    {
        var own = Own(name, destination.Length);
        inner.Read(name, destination[..own]);
        TensorPrimitives.ConvertToHalf(added.AsSpan(0, destination.Length - own), MemoryMarshal.Cast<ushort, Half>(destination[own..]));
    }

    public StoredTensor? Locate(string name) => name == TableName ? null : inner.Locate(name);

    public void Dispose() => inner.Dispose();

    /// <summary>How many of a tensor's elements the inner source has.</summary>
    private int Own(string name, int length) => name == TableName ? length - added.Length : length;
}
