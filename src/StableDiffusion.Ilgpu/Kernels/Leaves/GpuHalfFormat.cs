using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Pointwise;

namespace StableDiffusion.Ilgpu.Kernels.Leaves;

/// <summary>
/// How a kind of device converts fp16 bit patterns: exactly, and to the nearest value, of two the even one, subnormal values included; what is too
/// large becomes infinite. And what it has for functions whose results will be rounded to fp16.
/// </summary>
internal interface IHalfConversion
{
    /// <param name="bits">The pattern, in the lower 16 bits; the others are zero.</param>
    float Widen(int bits);

    /// <returns>The pattern, in the lower 16 bits; the others are zero.</returns>
    int Narrow(float value);

    /// <returns>Two patterns.</returns>
    int NarrowPair(float lower, float upper);

    /// <summary>2^x to a few millionths of it. Beyond ±126 it may be 0 or infinite.</summary>
    float Exp2(float x);

    /// <summary>1 / x for x from 1 on, to a few millionths of it. Beyond 2^126 it may be 0.</summary>
    float Reciprocal(float x);
}

/// <summary>fp16 as bit patterns, for the kernels for GPUs. They compute in fp32: the conversion is all that a device may do natively.</summary>
internal struct GpuHalfFormat<TConversion> : IGpuFormat<ushort> where TConversion : struct, IHalfConversion
{
    public readonly float Load(ArrayView<ushort> source, long index) => default(TConversion).Widen(source[index]);

    public readonly void Store(ArrayView<ushort> target, long index, float value) => target[index] = (ushort)default(TConversion).Narrow(value);

    /// <summary>Both patterns are in the first value's bits.</summary>
    public readonly Float2 ReadPair(ArrayView<ushort> source, long index, int present) =>
        new() { X = Interop.IntAsFloat((uint)(source.Cast<int>()[index >> 1] & present)) };

    public readonly Float2 WidenPair(Float2 pair)
    {
        var bits = (int)Interop.FloatAsInt(pair.X);
        return new Float2 { X = default(TConversion).Widen(bits & 0xFFFF), Y = default(TConversion).Widen(bits >>> 16) };
    }

    public readonly Float8 LoadChunk(ArrayView<ushort> source, long index) => Widen(Read(source, index));

    public readonly Float8 LoadChunk(ArrayView<ushort> source, long index, int present) => Widen(HalfChunk.And(Read(source, index), present));

    /// <summary>A chunk as it lies in memory, for what is needed only later.</summary>
    public static HalfChunk Read(ArrayView<ushort> source, long index) => source.Cast<HalfChunk>()[index >> 3];

    public static Float8 Widen(HalfChunk chunk) => new() { Low = Widen(chunk.First, chunk.Second), High = Widen(chunk.Third, chunk.Fourth) };

    public static HalfChunk Narrow(Float8 values) => new()
    {
        First = default(TConversion).NarrowPair(values.Low.X, values.Low.Y),
        Second = default(TConversion).NarrowPair(values.Low.Z, values.Low.W),
        Third = default(TConversion).NarrowPair(values.High.X, values.High.Y),
        Fourth = default(TConversion).NarrowPair(values.High.Z, values.High.W),
    };

    public readonly void StoreChunk(ArrayView<ushort> target, long index, Float8 values) => target.Cast<HalfChunk>()[index >> 3] = Narrow(values);

    public readonly float Exp2(float x) => default(TConversion).Exp2(x);

    public readonly float Exp(float x) => default(TConversion).Exp2(x * PointwiseMath.Log2E);

    public readonly float Quotient(float dividend, float divisor) => dividend * default(TConversion).Reciprocal(divisor);

    private static Float4 Widen(int first, int second) => new()
    {
        X = default(TConversion).Widen(first & 0xFFFF),
        Y = default(TConversion).Widen(first >>> 16),
        Z = default(TConversion).Widen(second & 0xFFFF),
        W = default(TConversion).Widen(second >>> 16),
    };
}

/// <summary>Eight fp16 values as a device moves them: 16 bytes.</summary>
internal struct HalfChunk
{
    public int First;
    public int Second;
    public int Third;
    public int Fourth;

    public static HalfChunk And(HalfChunk chunk, int bits) => new()
    {
        First = chunk.First & bits,
        Second = chunk.Second & bits,
        Third = chunk.Third & bits,
        Fourth = chunk.Fourth & bits,
    };
}
