using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Simd;

/// <summary>Eight floats (AVX2).</summary>
internal struct Simd256(Vector256<float> v) : ISimd<Simd256>
{
    private Vector256<float> v = v;

    public static int Count => 8;
    public static int TileRows => 6;
    public static Simd256 Indices => new(Vector256<float>.Indices);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd256 Load(ref float source, nint offset) => new(Vector256.LoadUnsafe(ref source, (nuint)offset));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Simd256 value, ref float target, nint offset) => value.v.StoreUnsafe(ref target, (nuint)offset);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd256 LoadHalf(ref ushort source, nint offset)
    {
        var stored = Vector128.LoadUnsafe(ref Unsafe.As<ushort, short>(ref source), (nuint)offset);
        var bits = Avx2.IsSupported ? Avx2.ConvertToVector256Int32(stored) : Vector256.WidenLower(stored.ToVector256Unsafe());
        return new((bits << 13 & Vector256.Create(HalfBits.Kept)).AsSingle() * Vector256.Create(HalfBits.Rescale));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreHalf(Simd256 value, ref ushort target, nint offset)
    {
        var bits = value.v.AsUInt32();
        var sign = bits & Vector256.Create(0x80000000u);
        var size = bits ^ sign;
        var normal = (size + Vector256.Create(HalfBits.RoundBias) + ((size >> 13) & Vector256<uint>.One)) >> 13;
        var small = (size.AsSingle() + Vector256.Create(0.5f)).AsUInt32() - Vector256.Create(HalfBits.HalfOne);
        var rounded = Vector256.ConditionalSelect(Vector256.LessThan(size.AsInt32(), Vector256.Create(HalfBits.SmallestNormal)).AsUInt32(), small, normal);
        rounded = Vector256.Min(rounded, Vector256.Create(0x7C00u)) | (sign >> 16);
        HalfBits.Narrow(rounded.GetLower(), rounded.GetUpper()).StoreUnsafe(ref target, (nuint)offset);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd256 Create(float value) => new(Vector256.Create(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd256 MultiplyAdd(Simd256 a, Simd256 b, Simd256 c) => new(Vector256.FusedMultiplyAdd(a.v, b.v, c.v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void AddProduct(ref Simd256 sum, Simd256 a, Simd256 b) => sum.v = Vector256.FusedMultiplyAdd(a.v, b.v, sum.v);

    public static Simd256 operator +(Simd256 a, Simd256 b) => new(a.v + b.v);
    public static Simd256 operator -(Simd256 a, Simd256 b) => new(a.v - b.v);
    public static Simd256 operator *(Simd256 a, Simd256 b) => new(a.v * b.v);
    public static Simd256 operator /(Simd256 a, Simd256 b) => new(a.v / b.v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd256 Max(Simd256 a, Simd256 b) => new(Vector256.MaxNative(a.v, b.v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd256 Min(Simd256 a, Simd256 b) => new(Vector256.MinNative(a.v, b.v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd256 Abs(Simd256 a) => new(Vector256.Abs(a.v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd256 WhereGreater(Simd256 a, Simd256 b, Simd256 yes, Simd256 no) =>
        new(Vector256.ConditionalSelect(Vector256.GreaterThan(a.v, b.v), yes.v, no.v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd256 Round(Simd256 a) => new(Vector256.Round(a.v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd256 Scale(Simd256 a, Simd256 n) => new((a.v.AsInt32() + (Vector256.ConvertToInt32Native(n.v) << 23)).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool AreEqual(Simd256 a, Simd256 b) => Vector256.EqualsAll(a.v, b.v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Simd256 a) => Vector256.Sum(a.v);
}
