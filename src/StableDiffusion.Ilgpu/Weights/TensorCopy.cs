using System.Buffers;
using System.Runtime.InteropServices;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>Tensors of a source as a written file has them.</summary>
internal static class TensorCopy
{
    /// <summary>All tensors of a source in the order that files have them, by name.</summary>
    /// <param name="weights">The source.</param>
    /// <param name="type">F16, F32 or BF16; null for the stored types. F64 becomes F32, fp8 becomes F16, which holds its numbers.</param>
    /// <exception cref="StableDiffusionException">A tensor is no weight and has no known values.</exception>
    public static List<TensorInfo> Written(IWeightSource weights, TensorType? type) =>
        [.. weights.Tensors.Values.OrderBy(t => t.Name, StringComparer.Ordinal).Select(t => t with { Type = TypeOf(weights, t, type) })];

    /// <summary>Fills a written tensor's bytes.</summary>
    public static void Fill(IWeightSource weights, TensorInfo tensor, Span<byte> bytes)
    {
        switch (tensor.Type)
        {
            case TensorType.F16:
                weights.Read(tensor.Name, MemoryMarshal.Cast<byte, ushort>(bytes));
                break;
            case TensorType.F32:
                weights.Read(tensor.Name, MemoryMarshal.Cast<byte, float>(bytes));
                break;
            case TensorType.BF16:
                var values = ArrayPool<float>.Shared.Rent(checked((int)tensor.Count));
                weights.Read(tensor.Name, values.AsSpan(0, (int)tensor.Count));
                FloatConversion.ToBrain(values.AsSpan(0, (int)tensor.Count), MemoryMarshal.Cast<byte, ushort>(bytes));
                ArrayPool<float>.Shared.Return(values);
                break;
            case TensorType.I64 when tensor.Name == WeightCheck.PositionIds:
                var positions = MemoryMarshal.Cast<byte, long>(bytes);
                for (var i = 0; i < positions.Length; i++)
                {
                    positions[i] = i;
                }

                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(tensor), tensor.Type, "F16, F32 or BF16");
        }
    }

    private static TensorType TypeOf(IWeightSource weights, TensorInfo tensor, TensorType? type) =>
        tensor.Name == WeightCheck.PositionIds ? TensorType.I64
        : !FloatConversion.IsFloat(tensor.Type)
            ? throw new StableDiffusionException(
                $"{weights.Description}: tensor {tensor.Name} has element type {tensor.Type}, which is not a weight's")
        : type ?? (tensor.Type == TensorType.F64 ? TensorType.F32 : FloatConversion.IsFloat8(tensor.Type) ? TensorType.F16 : tensor.Type);
}
