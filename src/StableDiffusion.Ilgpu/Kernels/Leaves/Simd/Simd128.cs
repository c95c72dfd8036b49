using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Simd;

/// <summary>Four floats (SSE, NEON, or software where hardware intrinsics are off).</summary>
internal struct Simd128(Vector128<float> v) : ISimd<Simd128>
{
    private Vector128<float> v = v;

    public static int Count => 4;
    public static int TileRows => 4;
    public static Simd128 Indices => new(Vector128<float>.Indices);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd128 Load(ref float source, nint offset) => new(Vector128.LoadUnsafe(ref source, (nuint)offset));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Simd128 value, ref float target, nint offset) => value.v.StoreUnsafe(ref target, (nuint)offset);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd128 LoadHalf(ref ushort source, nint offset)
    {
        var four = Vector64.LoadUnsafe(ref Unsafe.As<ushort, short>(ref source), (nuint)offset);
        var moved = AdvSimd.IsSupported ? AdvSimd.ShiftLeftLogicalWideningLower(four, 13)
            : Vector128.Create(Vector64.WidenLower(four), Vector64.WidenUpper(four)) << 13;
        return new((moved & Vector128.Create(HalfBits.Kept)).AsSingle() * Vector128.Create(HalfBits.Rescale));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreHalf(Simd128 value, ref ushort target, nint offset)
    {
        var bits = value.v.AsUInt32();
        var sign = bits & Vector128.Create(0x80000000u);
        var size = bits ^ sign;
        var normal = (size + Vector128.Create(HalfBits.RoundBias) + ((size >> 13) & Vector128<uint>.One)) >> 13;
        var small = (size.AsSingle() + Vector128.Create(0.5f)).AsUInt32() - Vector128.Create(HalfBits.HalfOne);
        var rounded = Vector128.ConditionalSelect(Vector128.LessThan(size.AsInt32(), Vector128.Create(HalfBits.SmallestNormal)).AsUInt32(), small, normal);
        rounded = Vector128.Min(rounded, Vector128.Create(0x7C00u)) | (sign >> 16);
        var four = AdvSimd.IsSupported ? AdvSimd.ExtractNarrowingLower(rounded) : Vector64.Narrow(rounded.GetLower(), rounded.GetUpper());
        four.StoreUnsafe(ref target, (nuint)offset);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd128 Create(float value) => new(Vector128.Create(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd128 MultiplyAdd(Simd128 a, Simd128 b, Simd128 c) => new(Vector128.FusedMultiplyAdd(a.v, b.v, c.v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void AddProduct(ref Simd128 sum, Simd128 a, Simd128 b) => sum.v = Vector128.FusedMultiplyAdd(a.v, b.v, sum.v);

    public static Simd128 operator +(Simd128 a, Simd128 b) => new(a.v + b.v);
    public static Simd128 operator -(Simd128 a, Simd128 b) => new(a.v - b.v);
    public static Simd128 operator *(Simd128 a, Simd128 b) => new(a.v * b.v);
    public static Simd128 operator /(Simd128 a, Simd128 b) => new(a.v / b.v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd128 Max(Simd128 a, Simd128 b) => new(Vector128.MaxNative(a.v, b.v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd128 Min(Simd128 a, Simd128 b) => new(Vector128.MinNative(a.v, b.v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd128 Abs(Simd128 a) => new(Vector128.Abs(a.v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd128 WhereGreater(Simd128 a, Simd128 b, Simd128 yes, Simd128 no) =>
        new(Vector128.ConditionalSelect(Vector128.GreaterThan(a.v, b.v), yes.v, no.v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd128 Round(Simd128 a) => new(Vector128.Round(a.v));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Simd128 Scale(Simd128 a, Simd128 n) => new((a.v.AsInt32() + (Vector128.ConvertToInt32Native(n.v) << 23)).AsSingle());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool AreEqual(Simd128 a, Simd128 b) => Vector128.EqualsAll(a.v, b.v);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Simd128 a) => Vector128.Sum(a.v);
}
