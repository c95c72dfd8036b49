using ILGPU;

namespace StableDiffusion.Ilgpu.Kernels.Leaves;

/// <summary>How a stored value is read and written.</summary>
internal interface IFormat<T> where T : unmanaged
{
    float Load(ArrayView<T> source, long index);

    void Store(ArrayView<T> target, long index, float value);
}

/// <summary>fp16 as bit patterns, converted by integer arithmetic: no device needs to know the type.</summary>
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

internal struct FloatFormat : IFormat<float>
{
    public readonly float Load(ArrayView<float> source, long index) => source[index];

    public readonly void Store(ArrayView<float> target, long index, float value) => target[index] = value;
}
