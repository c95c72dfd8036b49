using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Pointwise;

namespace StableDiffusion.Ilgpu.Kernels.Leaves;

/// <summary>How a stored value is read and written.</summary>
internal interface IFormat<T> where T : unmanaged
{
    float Load(ArrayView<T> source, long index);

    void Store(ArrayView<T> target, long index, float value);
}

/// <summary>A format of the kernels for GPUs, whose work-items move eight neighbouring values at once.</summary>
internal interface IGpuFormat<T> : IFormat<T>, IElementaryFunctions where T : unmanaged
{
    /// <summary>Two values as they lie in memory, for what is needed only later, or zeros as those of eight below. The index is even.</summary>
    Float2 ReadPair(ArrayView<T> source, long index, int present);

    /// <summary>The values of what <see cref="ReadPair"/> read.</summary>
    Float2 WidenPair(Float2 pair);

    /// <summary>Eight values. The index is a multiple of 8, and the view starts at a multiple of 16 bytes.</summary>
    Float8 LoadChunk(ArrayView<T> source, long index);

    /// <summary>As <see cref="LoadChunk(ArrayView{T}, long)"/>, or zeros: so no branch stands between a work-item's reads.</summary>
    /// <param name="source">Memory.</param>
    /// <param name="index">Where the values lie; where there are none, where any do.</param>
    /// <param name="present">All bits set where the values are there, else none.</param>
    Float8 LoadChunk(ArrayView<T> source, long index, int present);

    /// <summary>As <see cref="LoadChunk(ArrayView{T}, long)"/>.</summary>
    void StoreChunk(ArrayView<T> target, long index, Float8 values);

    /// <summary>2^x for x up to 0, as precise as the format can tell. Below -126 it may be 0, or 2^-126.</summary>
    float Exp2(float x);
}

/// <summary>
/// fp16 as bit patterns, converted by integer arithmetic: no device needs to know the type. Infinities and what is no number are not kept: the
/// first are read as 65536, and the second written as the first.
/// </summary>
internal struct HalfFormat : IFormat<ushort>
{
    public readonly float Load(ArrayView<ushort> source, long index)
    {
        // The sign and, three bits further down, exponent and fraction: then the exponent's bias is all that differs.
        var bits = ((int)(short)source[index] << 13) & unchecked((int)0x8FFFE000);
        return Interop.IntAsFloat((uint)bits) * 5.192296858534828e33f;
    }

    public readonly void Store(ArrayView<ushort> target, long index, float value)
    {
        var bits = Interop.FloatAsInt(value);
        var sign = (bits >> 16) & 0x8000u;
        var size = bits & 0x7FFFFFFFu;
        var rounded = size < 0x38800000u
            ? Interop.FloatAsInt(Interop.IntAsFloat(size) + 0.5f) - 0x3F000000u
            : (size - 0x37FFF001u + ((size >> 13) & 1u)) >> 13;
        target[index] = (ushort)(sign | IntrinsicMath.Min(rounded, 0x7C00u));
    }
}

internal struct FloatFormat : IGpuFormat<float>
{
    public readonly float Load(ArrayView<float> source, long index) => source[index];

    public readonly void Store(ArrayView<float> target, long index, float value) => target[index] = value;

    public readonly Float2 ReadPair(ArrayView<float> source, long index, int present)
    {
        var pair = source.Cast<Float2>()[index >> 1];
        return new Float2 { X = Keep(pair.X, (uint)present), Y = Keep(pair.Y, (uint)present) };
    }

    public readonly Float2 WidenPair(Float2 pair) => pair;

    public readonly Float8 LoadChunk(ArrayView<float> source, long index)
    {
        var vectors = source.Cast<Float4>();
        return new Float8 { Low = vectors[index >> 2], High = vectors[(index >> 2) + 1] };
    }

    public readonly Float8 LoadChunk(ArrayView<float> source, long index, int present)
    {
        var values = LoadChunk(source, index);
        return new Float8 { Low = Keep(values.Low, (uint)present), High = Keep(values.High, (uint)present) };
    }

    public readonly void StoreChunk(ArrayView<float> target, long index, Float8 values)
    {
        var vectors = target.Cast<Float4>();
        vectors[index >> 2] = values.Low;
        vectors[(index >> 2) + 1] = values.High;
    }

    public readonly float Exp2(float x) => PointwiseMath.Exp2(x);

    public readonly float Exp(float x) => default(PreciseFunctions).Exp(x);

    public readonly float Quotient(float dividend, float divisor) => default(PreciseFunctions).Quotient(dividend, divisor);

    private static Float4 Keep(Float4 values, uint bits) =>
        new() { X = Keep(values.X, bits), Y = Keep(values.Y, bits), Z = Keep(values.Z, bits), W = Keep(values.W, bits) };

    private static float Keep(float value, uint bits) => Interop.IntAsFloat(Interop.FloatAsInt(value) & bits);
}
