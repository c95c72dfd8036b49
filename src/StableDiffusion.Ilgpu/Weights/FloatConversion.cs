using System.Numerics;
using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>Stored numbers (little-endian, not necessarily aligned) to fp32, floats to fp16 too; one rounding, to nearest even.</summary>
internal static class FloatConversion
{
    /// <summary>The fp16 patterns of all fp8 ones: fp16 holds every number of both types. E5M2 is fp16's upper half.</summary>
    private static readonly ushort[] HalvesOfE4M3 = [.. Enumerable.Range(0, 256).Select(b => BitConverter.HalfToUInt16Bits((Half)OfE4M3(b)))],
        HalvesOfE5M2 = [.. Enumerable.Range(0, 256).Select(b => (ushort)(b << 8))];

    private static readonly float[] SinglesOfE4M3 = Widened(HalvesOfE4M3), SinglesOfE5M2 = Widened(HalvesOfE5M2);

    /// <summary>True for the types that can be read as numbers of a model.</summary>
    public static bool IsFloat(TensorType type) =>
        type is TensorType.F64 or TensorType.F32 or TensorType.F16 or TensorType.BF16 || IsFloat8(type);

    /// <summary>True for the types of 8 bits, which are read but never written.</summary>
    public static bool IsFloat8(TensorType type) => type is TensorType.F8_E4M3 or TensorType.F8_E5M2;

    public static void ToSingle(TensorType type, ReadOnlySpan<byte> source, Span<float> destination)
    {
        switch (type)
        {
            case TensorType.F32:
                MemoryMarshal.Cast<byte, float>(source).CopyTo(destination);
                break;
            case TensorType.F16:
                TensorPrimitives.ConvertToSingle(MemoryMarshal.Cast<byte, Half>(source), destination);
                break;
            case TensorType.BF16:
                WidenBrain(MemoryMarshal.Cast<byte, ushort>(source), destination);
                break;
            case TensorType.F64:
                TensorPrimitives.ConvertTruncating<double, float>(MemoryMarshal.Cast<byte, double>(source), destination);
                break;
            case TensorType.I64:
                TensorPrimitives.ConvertTruncating<long, float>(MemoryMarshal.Cast<byte, long>(source), destination);
                break;
            case TensorType.I32:
                TensorPrimitives.ConvertTruncating<int, float>(MemoryMarshal.Cast<byte, int>(source), destination);
                break;
            case TensorType.I16:
                TensorPrimitives.ConvertTruncating<short, float>(MemoryMarshal.Cast<byte, short>(source), destination);
                break;
            case TensorType.I8:
                TensorPrimitives.ConvertTruncating<sbyte, float>(MemoryMarshal.Cast<byte, sbyte>(source), destination);
                break;
            case TensorType.U8:
                TensorPrimitives.ConvertTruncating<byte, float>(source, destination);
                break;
            case TensorType.F8_E4M3:
                LookUp(SinglesOfE4M3, source, destination);
                break;
            case TensorType.F8_E5M2:
                LookUp(SinglesOfE5M2, source, destination);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), type, "not a number's type");
        }
    }

    /// <param name="type">The stored type.</param>
    /// <param name="source">The stored bytes.</param>
    /// <param name="destination">Bit patterns of fp16 numbers.</param>
    public static void ToHalf(TensorType type, ReadOnlySpan<byte> source, Span<ushort> destination)
    {
        switch (type)
        {
            case TensorType.F16:
                MemoryMarshal.Cast<byte, ushort>(source).CopyTo(destination);
                break;
            case TensorType.F32:
                TensorPrimitives.ConvertToHalf(MemoryMarshal.Cast<byte, float>(source), MemoryMarshal.Cast<ushort, Half>(destination));
                break;
            case TensorType.BF16:
                BrainToHalf(MemoryMarshal.Cast<byte, ushort>(source), destination);
                break;
            case TensorType.F64:
                // Not by way of fp32: two roundings differ from one for some numbers.
                var doubles = MemoryMarshal.Cast<byte, double>(source);
                for (var i = 0; i < doubles.Length; i++)
                {
                    destination[i] = BitConverter.HalfToUInt16Bits((Half)doubles[i]);
                }

                break;
            case TensorType.F8_E4M3:
                LookUp(HalvesOfE4M3, source, destination);
                break;
            case TensorType.F8_E5M2:
                LookUp(HalvesOfE5M2, source, destination);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), type, "not a float type");
        }
    }

    /// <summary>fp32 to bit patterns of bf16; what is not a number stays so.</summary>
    public static void ToBrain(ReadOnlySpan<float> source, Span<ushort> destination)
    {
        for (var i = 0; i < source.Length; i++)
        {
            var bits = BitConverter.SingleToUInt32Bits(source[i]);

            // Half of the dropped bits' weight, less one unless the last kept bit is set: to nearest even.
            destination[i] = float.IsNaN(source[i])
                ? (ushort)((bits >> 16) | 0x40)
                : (ushort)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
        }
    }

    /// <summary>
    /// The finite-only E4M3: a sign, four bits of exponent (bias 7), three of fraction; no infinities, and what has all seven bits set is
    /// no number.
    /// </summary>
    private static float OfE4M3(int bits)
    {
        var (exponent, fraction) = ((bits >> 3) & 15, bits & 7);
        var magnitude = (bits & 0x7f) == 0x7f ? float.NaN
            : exponent == 0 ? MathF.ScaleB(fraction, -9) : MathF.ScaleB(8 + fraction, exponent - 10);
        return bits < 0x80 ? magnitude : -magnitude;
    }

    private static float[] Widened(ushort[] halves) => [.. halves.Select(h => (float)BitConverter.UInt16BitsToHalf(h))];

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void LookUp<T>(T[] table, ReadOnlySpan<byte> source, Span<T> destination)
    {
        for (var i = 0; i < source.Length; i++)
        {
            destination[i] = table[source[i]];
        }
    }

    /// <summary>bf16 is fp32's upper half.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void WidenBrain(ReadOnlySpan<ushort> source, Span<float> destination)
    {
        var bits = MemoryMarshal.Cast<float, uint>(destination);
        var i = 0;
        for (; i <= source.Length - Vector<ushort>.Count; i += Vector<ushort>.Count)
        {
            Vector.Widen(new Vector<ushort>(source[i..]), out var low, out var high);
            (low << 16).CopyTo(bits[i..]);
            (high << 16).CopyTo(bits[(i + Vector<uint>.Count)..]);
        }

        for (; i < source.Length; i++)
        {
            bits[i] = (uint)source[i] << 16;
        }
    }

    /// <summary>By way of fp32, which holds every bf16 number, so that there is one rounding.</summary>
    private static void BrainToHalf(ReadOnlySpan<ushort> source, Span<ushort> destination)
    {
        Span<float> block = stackalloc float[1024];
        for (var start = 0; start < source.Length; start += block.Length)
        {
            var part = block[..Math.Min(block.Length, source.Length - start)];
            WidenBrain(source.Slice(start, part.Length), part);
            TensorPrimitives.ConvertToHalf(part, MemoryMarshal.Cast<ushort, Half>(destination.Slice(start, part.Length)));
        }
    }
}
