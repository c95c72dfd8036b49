using System.Runtime.CompilerServices;
using StableDiffusion.Ilgpu.Kernels.Gemm;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Simd;

/// <summary>
/// The transforms of F(4x4, 3x3) at the points 0, ±1, ±2 and infinity, a register of channels or columns at a time. Each is taken down the
/// columns, whose results wait where the final ones go, and then along the rows.
/// </summary>
internal static class SimdWinograd<V, T, F>
    where V : struct, ISimd<V>
    where T : unmanaged
    where F : struct, ISimdFormat<T>
{
    private const MethodImplOptions Options = MethodImplOptions.AggressiveOptimization;

    /// <summary>Columns <paramref name="firstX"/> + j of the six are inside for <paramref name="left"/> ≤ j &lt; <paramref name="right"/>.</summary>
    [MethodImpl(Options)]
    public static void Source(
        ref T source, nint linePitch, nint pixelPitch, int top, int bottom, int left, int right, int firstY, int firstX, int enlarged,
        ref float target, nint distance, int count)
    {
        for (nint c = 0; c < count; c += V.Count)
        {
            ref var to = ref Unsafe.Add(ref target, c);
            for (var j = 0; j < Winograd.Side; j++)
            {
                var zero = V.Create(0);
                V d0 = zero, d1 = zero, d2 = zero, d3 = zero, d4 = zero, d5 = zero;
                if (j >= left && j < right)
                {
                    ref var from = ref Unsafe.Add(ref source, (((firstX + j) >> enlarged) * pixelPitch) + c);
                    d0 = top <= 0 ? Load(ref from, firstY, enlarged, linePitch) : zero;
                    d1 = top <= 1 && bottom > 1 ? Load(ref from, firstY + 1, enlarged, linePitch) : zero;
                    d2 = bottom > 2 ? Load(ref from, firstY + 2, enlarged, linePitch) : zero;
                    d3 = bottom > 3 ? Load(ref from, firstY + 3, enlarged, linePitch) : zero;
                    d4 = bottom > 4 ? Load(ref from, firstY + 4, enlarged, linePitch) : zero;
                    d5 = bottom > 5 ? Load(ref from, firstY + 5, enlarged, linePitch) : zero;
                }

                Six(d0, d1, d2, d3, d4, d5, ref Unsafe.Add(ref to, j * distance), Winograd.Side * distance);
            }

            for (var i = 0; i < Winograd.Side; i++)
            {
                ref var row = ref Unsafe.Add(ref to, i * Winograd.Side * distance);
                Six(
                    V.Load(ref row), V.Load(ref row, distance), V.Load(ref row, 2 * distance), V.Load(ref row, 3 * distance), V.Load(ref row, 4 * distance),
                    V.Load(ref row, 5 * distance), ref row, distance);
            }
        }
    }

    [MethodImpl(Options)]
    public static void Weights(
        ref T weights, nint tapPitch, ref float target, nint distance, nint pitch, nint block, int depth)
    {
        for (nint k = 0; k < depth; k++)
        {
            for (nint column = 0; column < Tile.Columns; column += V.Count)
            {
                ref var from = ref Unsafe.Add(ref weights, (k * Tile.Columns) + column);
                ref var to = ref Unsafe.Add(ref target, (column / pitch * block) + (k * pitch) + (column % pitch));
                for (nint j = 0; j < 3; j++)
                {
                    Filter(
                        F.Load<V>(ref from, j * tapPitch), F.Load<V>(ref from, (j + 3) * tapPitch), F.Load<V>(ref from, (j + 6) * tapPitch),
                        ref Unsafe.Add(ref to, j * distance), Winograd.Side * distance);
                }

                for (nint i = 0; i < Winograd.Side; i++)
                {
                    ref var row = ref Unsafe.Add(ref to, i * Winograd.Side * distance);
                    Filter(V.Load(ref row), V.Load(ref row, distance), V.Load(ref row, 2 * distance), ref row, distance);
                }
            }
        }
    }

    [MethodImpl(Options)]
    public static void Sums(ref float sums, nint distance, ref float target, nint pitch)
    {
        for (nint c = 0; c < pitch; c += V.Count)
        {
            ref var from = ref Unsafe.Add(ref sums, c);
            for (nint j = 0; j < Winograd.Side; j++)
            {
                // The first four of a column's six values are not read again once the four results are known.
                ref var column = ref Unsafe.Add(ref from, j * distance);
                Four(ref column, Winograd.Side * distance, ref column, Winograd.Side * distance);
            }

            for (nint i = 0; i < Winograd.Pixels; i++)
            {
                Four(
                    ref Unsafe.Add(ref from, i * Winograd.Side * distance), distance, ref Unsafe.Add(ref target, (i * Winograd.Pixels * pitch) + c), pitch);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static V Load(ref T source, int y, int enlarged, nint linePitch) => F.Load<V>(ref source, (y >> enlarged) * linePitch);

    /// <summary>B^T d.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Six(V d0, V d1, V d2, V d3, V d4, V d5, ref float target, nint distance)
    {
        var (two, four, five) = (V.Create(2), V.Create(4), V.Create(-5));
        var even = d4 - (four * d2);
        var odd = d3 - (four * d1);
        var evenHalf = d4 - d2;
        var oddHalf = two * (d3 - d1);
        V.Store(V.MultiplyAdd(four, d0, V.MultiplyAdd(five, d2, d4)), ref target);
        V.Store(even + odd, ref target, distance);
        V.Store(even - odd, ref target, 2 * distance);
        V.Store(evenHalf + oddHalf, ref target, 3 * distance);
        V.Store(evenHalf - oddHalf, ref target, 4 * distance);
        V.Store(V.MultiplyAdd(four, d1, V.MultiplyAdd(five, d3, d5)), ref target, 5 * distance);
    }

    /// <summary>G g.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Filter(V g0, V g1, V g2, ref float target, nint distance)
    {
        var outer = V.Create(-1f / 6) * (g0 + g2);
        var inner = V.Create(-1f / 6) * g1;
        var outerTwo = V.MultiplyAdd(V.Create(1f / 24), g0, V.Create(1f / 6) * g2);
        var innerTwo = V.Create(1f / 12) * g1;
        V.Store(V.Create(0.25f) * g0, ref target);
        V.Store(outer + inner, ref target, distance);
        V.Store(outer - inner, ref target, 2 * distance);
        V.Store(outerTwo + innerTwo, ref target, 3 * distance);
        V.Store(outerTwo - innerTwo, ref target, 4 * distance);
        V.Store(g2, ref target, 5 * distance);
    }

    /// <summary>A^T m.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Four(ref float source, nint distance, ref float target, nint pitch)
    {
        var (m0, m5) = (V.Load(ref source), V.Load(ref source, 5 * distance));
        var (m1, m2) = (V.Load(ref source, distance), V.Load(ref source, 2 * distance));
        var (m3, m4) = (V.Load(ref source, 3 * distance), V.Load(ref source, 4 * distance));
        var (sum, difference) = (m1 + m2, m1 - m2);
        var (sumTwo, differenceTwo) = (m3 + m4, m3 - m4);
        V.Store(m0 + sum + sumTwo, ref target);
        V.Store(V.MultiplyAdd(V.Create(2), differenceTwo, difference), ref target, pitch);
        V.Store(V.MultiplyAdd(V.Create(4), sumTwo, sum), ref target, 2 * pitch);
        V.Store(V.MultiplyAdd(V.Create(8), differenceTwo, difference) + m5, ref target, 3 * pitch);
    }
}
