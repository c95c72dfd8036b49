using ILGPU;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>Eight fp16 values, 16 bytes, as one access to global memory on CUDA. Offsets must be multiples of 8, and views start at one.</summary>
internal static class HalfVectors
{
    public static Float8 Load(ArrayView<ushort> source, long index)
    {
        var bits = source.Cast<Bits4>()[index / 8];
        return new Float8
        {
            Low = new Float4 { X = Lower(bits.X), Y = Upper(bits.X), Z = Lower(bits.Y), W = Upper(bits.Y) },
            High = new Float4 { X = Lower(bits.Z), Y = Upper(bits.Z), Z = Lower(bits.W), W = Upper(bits.W) },
        };
    }

    public static void Store(ArrayView<ushort> target, long index, Float8 values) => Store(
        0, PtxCode.AddressOf(ref target[index]),
        values.Low.X, values.Low.Y, values.Low.Z, values.Low.W, values.High.X, values.High.Y, values.High.Z, values.High.W);

    /// <summary>Rounds to nearest, to even where two are as near; beyond fp16's range to infinity.</summary>
    public static void Store(int text, ulong address, float v0, float v1, float v2, float v3, float v4, float v5, float v6, float v7) =>
        throw new NotSupportedException();

    internal static void Bind() => PtxCode.Bind(
        typeof(HalfVectors).GetMethods().Single(m => m.Name == nameof(Store) && m.GetParameters().Length == 10),
        """
            {
            .reg .b32 h0, h1, h2, h3;
            cvt.rn.f16x2.f32 h0, %2, %1; cvt.rn.f16x2.f32 h1, %4, %3; cvt.rn.f16x2.f32 h2, %6, %5; cvt.rn.f16x2.f32 h3, %8, %7;
            st.global.v4.b32 [%0], {h0, h1, h2, h3};
            }

        """);

    private static float Lower(uint bits) => Interop.IntAsFloat((ushort)(bits & 0xFFFF));

    private static float Upper(uint bits) => Interop.IntAsFloat((ushort)(bits >> 16));

#pragma warning disable CS0649 // Fields are read from memory only.
    /// <summary>Two values in each.</summary>
    private struct Bits4
    {
        public uint X;
        public uint Y;
        public uint Z;
        public uint W;
    }
#pragma warning restore CS0649
}
