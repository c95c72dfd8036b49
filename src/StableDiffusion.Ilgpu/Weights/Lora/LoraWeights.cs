using System.Numerics.Tensors;
using System.Runtime.InteropServices;

namespace StableDiffusion.Ilgpu.Weights.Lora;

/// <summary>
/// A component's weights with LoRAs merged in: the stored value and all changes are added in fp32, and only the sum is rounded.
/// Owns the inner source, not the LoRA files.
/// </summary>
internal sealed class LoraWeights(IWeightSource inner, IReadOnlyDictionary<string, IReadOnlyList<LoraDelta>> deltas) : IWeightSource
{
    public string Description => inner.Description;

    public IReadOnlyDictionary<string, TensorInfo> Tensors => inner.Tensors;

    public void Read(string name, Span<float> destination)
    {
        inner.Read(name, destination);
        var changes = deltas.GetValueOrDefault(name) ?? [];
        float[] original = changes.Any(d => d.NeedsOriginal) ? destination.ToArray() : [];
        foreach (var delta in changes)
        {
            delta.AddTo(destination, original);
        }
    }

    public void Read(string name, Span<ushort> destination)
    {
        if (!deltas.ContainsKey(name))
        {
            inner.Read(name, destination);
            return;
        }

        var merged = new float[destination.Length];
        Read(name, merged);
        TensorPrimitives.ConvertToHalf(merged, MemoryMarshal.Cast<ushort, Half>(destination));
    }

    public StoredTensor? Locate(string name) => deltas.ContainsKey(name) ? null : inner.Locate(name);

    public void Dispose() => inner.Dispose();
}
