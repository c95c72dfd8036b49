using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Simd;

/// <summary>
/// The matrix micro-kernel for NEON, whose multiply-add takes one value of a register as a factor, so that none has to be broadcast: eight
/// rows times eight columns have their sums in 16 of 32 registers, and each four depths of the rows, or four rows of a depth, come with one load.
/// The sums are those of <see cref="SimdMultiply{V}"/>, in the same order.
/// </summary>
internal static class LaneMultiply
{
    public const int Rows = 8;

    private const int Count = 4;

    private const int Columns = 2 * Count;

    /// <summary>Elsewhere the same is computed in software.</summary>
    public static bool IsHardwareAccelerated => AdvSimd.Arm64.IsSupported;

    /// <summary>C (+)= A B for eight rows and eight columns.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    public static void Block<TLayout>(ref float a, nint pitch, ref float b, ref float c, nint cPitch, int depth, bool accumulate)
        where TLayout : struct, IMultiplyLayout
    {
        Vector128<float> x0, x1, x2, x3, x4, x5, x6, x7, y0, y1, y2, y3, y4, y5, y6, y7;
        x0 = x1 = x2 = x3 = x4 = x5 = x6 = x7 = y0 = y1 = y2 = y3 = y4 = y5 = y6 = y7 = Vector128<float>.Zero;
        if (accumulate)
        {
            (x0, y0) = (Load(ref c, 0), Load(ref c, Count));
            (x1, y1) = (Load(ref c, cPitch), Load(ref c, cPitch + Count));
            (x2, y2) = (Load(ref c, 2 * cPitch), Load(ref c, (2 * cPitch) + Count));
            (x3, y3) = (Load(ref c, 3 * cPitch), Load(ref c, (3 * cPitch) + Count));
            (x4, y4) = (Load(ref c, 4 * cPitch), Load(ref c, (4 * cPitch) + Count));
            (x5, y5) = (Load(ref c, 5 * cPitch), Load(ref c, (5 * cPitch) + Count));
            (x6, y6) = (Load(ref c, 6 * cPitch), Load(ref c, (6 * cPitch) + Count));
            (x7, y7) = (Load(ref c, 7 * cPitch), Load(ref c, (7 * cPitch) + Count));
        }

        if (!TLayout.IsByColumn)
        {
            for (; depth >= Count; depth -= Count)
            {
                var (a0, a1, a2, a3) = (Load(ref a, 0), Load(ref a, TLayout.Row(pitch)), Load(ref a, 2 * TLayout.Row(pitch)), Load(ref a, 3 * TLayout.Row(pitch)));
                var (a4, a5) = (Load(ref a, 4 * TLayout.Row(pitch)), Load(ref a, 5 * TLayout.Row(pitch)));
                var (a6, a7) = (Load(ref a, 6 * TLayout.Row(pitch)), Load(ref a, 7 * TLayout.Row(pitch)));
                AddDepth<TLayout>(ref b, 0, a0, a1, a2, a3, a4, a5, a6, a7, ref x0, ref y0, ref x1, ref y1, ref x2, ref y2, ref x3, ref y3, ref x4, ref y4, ref x5, ref y5, ref x6, ref y6, ref x7, ref y7);
                AddDepth<TLayout>(ref b, 1, a0, a1, a2, a3, a4, a5, a6, a7, ref x0, ref y0, ref x1, ref y1, ref x2, ref y2, ref x3, ref y3, ref x4, ref y4, ref x5, ref y5, ref x6, ref y6, ref x7, ref y7);
                AddDepth<TLayout>(ref b, 2, a0, a1, a2, a3, a4, a5, a6, a7, ref x0, ref y0, ref x1, ref y1, ref x2, ref y2, ref x3, ref y3, ref x4, ref y4, ref x5, ref y5, ref x6, ref y6, ref x7, ref y7);
                AddDepth<TLayout>(ref b, 3, a0, a1, a2, a3, a4, a5, a6, a7, ref x0, ref y0, ref x1, ref y1, ref x2, ref y2, ref x3, ref y3, ref x4, ref y4, ref x5, ref y5, ref x6, ref y6, ref x7, ref y7);
                a = ref Unsafe.Add(ref a, Count);
                b = ref Unsafe.Add(ref b, Count * TLayout.PanelPitch(Columns));
            }
        }

        for (; depth > 0; depth--)
        {
            var (left, right) = (Load(ref b, 0), Load(ref b, Count));
            var (first, second) = TLayout.IsByColumn ? (Load(ref a, 0), Load(ref a, Count))
                : (Column(ref a, TLayout.Row(pitch)), Column(ref Unsafe.Add(ref a, Count * TLayout.Row(pitch)), TLayout.Row(pitch)));
            AddRow(first, 0, left, right, ref x0, ref y0);
            AddRow(first, 1, left, right, ref x1, ref y1);
            AddRow(first, 2, left, right, ref x2, ref y2);
            AddRow(first, 3, left, right, ref x3, ref y3);
            AddRow(second, 0, left, right, ref x4, ref y4);
            AddRow(second, 1, left, right, ref x5, ref y5);
            AddRow(second, 2, left, right, ref x6, ref y6);
            AddRow(second, 3, left, right, ref x7, ref y7);
            a = ref Unsafe.Add(ref a, TLayout.Step(pitch));
            b = ref Unsafe.Add(ref b, TLayout.PanelPitch(Columns));
        }

        Store(x0, y0, ref c);
        Store(x1, y1, ref Unsafe.Add(ref c, cPitch));
        Store(x2, y2, ref Unsafe.Add(ref c, 2 * cPitch));
        Store(x3, y3, ref Unsafe.Add(ref c, 3 * cPitch));
        Store(x4, y4, ref Unsafe.Add(ref c, 4 * cPitch));
        Store(x5, y5, ref Unsafe.Add(ref c, 5 * cPitch));
        Store(x6, y6, ref Unsafe.Add(ref c, 6 * cPitch));
        Store(x7, y7, ref Unsafe.Add(ref c, 7 * cPitch));
    }

    /// <summary>One of the depths that the rows' registers hold.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void AddDepth<TLayout>(
        ref float b, [ConstantExpected(Max = (byte)3)] byte k,
        Vector128<float> a0, Vector128<float> a1, Vector128<float> a2, Vector128<float> a3, Vector128<float> a4, Vector128<float> a5, Vector128<float> a6, Vector128<float> a7,
        ref Vector128<float> x0, ref Vector128<float> y0, ref Vector128<float> x1, ref Vector128<float> y1, ref Vector128<float> x2, ref Vector128<float> y2,
        ref Vector128<float> x3, ref Vector128<float> y3, ref Vector128<float> x4, ref Vector128<float> y4, ref Vector128<float> x5, ref Vector128<float> y5,
        ref Vector128<float> x6, ref Vector128<float> y6, ref Vector128<float> x7, ref Vector128<float> y7)
        where TLayout : struct, IMultiplyLayout
    {
        var at = k * TLayout.PanelPitch(Columns);
        var (left, right) = (Load(ref b, at), Load(ref b, at + Count));
        AddRow(a0, k, left, right, ref x0, ref y0);
        AddRow(a1, k, left, right, ref x1, ref y1);
        AddRow(a2, k, left, right, ref x2, ref y2);
        AddRow(a3, k, left, right, ref x3, ref y3);
        AddRow(a4, k, left, right, ref x4, ref y4);
        AddRow(a5, k, left, right, ref x5, ref y5);
        AddRow(a6, k, left, right, ref x6, ref y6);
        AddRow(a7, k, left, right, ref x7, ref y7);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void AddRow(
        Vector128<float> values, [ConstantExpected(Max = (byte)3)] byte lane, Vector128<float> left, Vector128<float> right, ref Vector128<float> x, ref Vector128<float> y)
    {
        x = AddProduct(x, left, values, lane);
        y = AddProduct(y, right, values, lane);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> AddProduct(Vector128<float> sum, Vector128<float> a, Vector128<float> values, [ConstantExpected(Max = (byte)3)] byte lane) =>
        AdvSimd.Arm64.IsSupported ? AdvSimd.Arm64.FusedMultiplyAddBySelectedScalar(sum, a, values, lane)
        : Vector128.FusedMultiplyAdd(a, Vector128.Create(values.GetElement(lane)), sum);

    /// <summary>One depth of four rows.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Column(ref float a, nint pitch) =>
        Vector128.Create(a, Unsafe.Add(ref a, pitch), Unsafe.Add(ref a, 2 * pitch), Unsafe.Add(ref a, 3 * pitch));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<float> Load(ref float source, nint offset) => Vector128.LoadUnsafe(ref source, (nuint)offset);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(Vector128<float> x, Vector128<float> y, ref float target)
    {
        x.StoreUnsafe(ref target);
        y.StoreUnsafe(ref target, Count);
    }
}
