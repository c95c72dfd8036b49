using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Simd;

/// <summary>Sixteen floats (AVX-512).</summary>
internal struct Simd512(Vector512<float> v) : ISimd<Simd512>
{
    private Vector512<float> v = v;

    public static int Count => 16;
    public static int TileRows => 8;
    public static Simd512 Indices => new(Vector512<float>.Indices);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd512 Load(ref float source, nint offset) => new(Vector512.LoadUnsafe(ref source, (nuint)offset));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Simd512 value, ref float target, nint offset) => value.v.StoreUnsafe(ref target, (nuint)offset);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd512 LoadHalf(ref ushort source, nint offset)
    {
        var bits = Vector512.WidenLower(Vector256.LoadUnsafe(ref Unsafe.As<ushort, short>(ref source), (nuint)offset).ToVector512Unsafe());
        return new((bits << 13 & Vector512.Create(HalfBits.Kept)).AsSingle() * Vector512.Create(HalfBits.Rescale));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreHalf(Simd512 value, ref ushort target, nint offset)
    {
        var bits = value.v.AsUInt32();
        var sign = bits & Vector512.Create(0x80000000u);
        var size = bits ^ sign;
        var normal = (size + Vector512.Create(HalfBits.RoundBias) + ((size >> 13) & Vector512<uint>.One)) >> 13;
        var small = (size.AsSingle() + Vector512.Create(0.5f)).AsUInt32() - Vector512.Create(HalfBits.HalfOne);
        var rounded = Vector512.ConditionalSelect(Vector512.LessThan(size, Vector512.Create((uint)HalfBits.SmallestNormal)), small, normal);
        rounded = Vector512.Min(rounded, Vector512.Create(0x7C00u)) | (sign >> 16);
        var stored = Avx512F.IsSupported ? Avx512F.ConvertToVector256UInt16(rounded) : Vector256.Narrow(rounded.GetLower(), rounded.GetUpper());
        stored.StoreUnsafe(ref target, (nuint)offset);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd512 Create(float value) => new(Vector512.Create(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd512 MultiplyAdd(Simd512 a, Simd512 b, Simd512 c) => new(Vector512.FusedMultiplyAdd(a.v, b.v, c.v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void AddProduct(ref Simd512 sum, Simd512 a, Simd512 b) => sum.v = Vector512.FusedMultiplyAdd(a.v, b.v, sum.v);

    public static Simd512 operator +(Simd512 a, Simd512 b) => new(a.v + b.v);
    public static Simd512 operator -(Simd512 a, Simd512 b) => new(a.v - b.v);
    public static Simd512 operator *(Simd512 a, Simd512 b) => new(a.v * b.v);
    public static Simd512 operator /(Simd512 a, Simd512 b) => new(a.v / b.v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd512 Max(Simd512 a, Simd512 b) => new(Vector512.MaxNative(a.v, b.v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd512 Min(Simd512 a, Simd512 b) => new(Vector512.MinNative(a.v, b.v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd512 Abs(Simd512 a) => new(Vector512.Abs(a.v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd512 WhereGreater(Simd512 a, Simd512 b, Simd512 yes, Simd512 no) =>
        new(Vector512.ConditionalSelect(Vector512.GreaterThan(a.v, b.v), yes.v, no.v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd512 Round(Simd512 a) => new(Vector512.Round(a.v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd512 Scale(Simd512 a, Simd512 n) => new(
        Avx512F.IsSupported ? Avx512F.Scale(a.v, n.v) : (a.v.AsInt32() + (Vector512.ConvertToInt32Native(n.v) << 23)).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool AreEqual(Simd512 a, Simd512 b) => Vector512.EqualsAll(a.v, b.v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Simd512 a) => Vector512.Sum(a.v);
}
