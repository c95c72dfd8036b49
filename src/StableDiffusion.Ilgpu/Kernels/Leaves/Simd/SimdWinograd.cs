using System.Runtime.CompilerServices;
using StableDiffusion.Ilgpu.Kernels.Gemm;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Simd;

/// <summary>
/// The transforms of F(4x4, 3x3) at the points 0, ±1, ±2 and infinity, a register of channels or columns at a time. Each is taken down the
/// columns and then along the rows. The 36 values of a block lie far from each other, so that processors see no pattern in them: what comes next is
/// fetched ahead.
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
        Unsafe.SkipInit(out Values values);
        ref var between = ref Unsafe.As<Values, float>(ref values);
        for (nint c = 0; c < count; c += V.Count)
        {
            ref var to = ref Unsafe.Add(ref target, c);

            // The next line of channels, or the next block's first one.
            ref var ahead = ref Unsafe.Add(ref to, c + Prefetch.Line < count ? Prefetch.Line : Winograd.SourcePitch - c);
            for (var j = 0; j < Winograd.Side; j++)
            {
                if (c % Prefetch.Line == 0)
                {
                    PrefetchSix(ref Unsafe.Add(ref ahead, j * distance), Winograd.Side * distance);
                }

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

                Six(d0, d1, d2, d3, d4, d5, ref Unsafe.Add(ref between, j * V.Count), Winograd.Side * V.Count);
            }

            for (nint i = 0; i < Winograd.Side; i++)
            {
                ref var row = ref Unsafe.Add(ref between, i * Winograd.Side * V.Count);
                Six(
                    V.Load(ref row), V.Load(ref row, V.Count), V.Load(ref row, 2 * V.Count), V.Load(ref row, 3 * V.Count), V.Load(ref row, 4 * V.Count),
                    V.Load(ref row, 5 * V.Count), ref Unsafe.Add(ref to, i * Winograd.Side * distance), distance);
            }
        }
    }

    /// <summary>
    /// The taps' weights lie a multiple of 4096 bytes apart, so that few of them fit in the first-level cache at once: they are copied together first.
    /// </summary>
    [MethodImpl(Options)]
    public static void Weights(
        ref T weights, nint tapPitch, ref float target, nint distance, nint pitch, nint block, int depth)
    {
        Unsafe.SkipInit(out Taps taps);
        Unsafe.SkipInit(out Values values);
        ref var filter = ref Unsafe.As<Taps, T>(ref taps);
        for (nint k = 0; k < depth; k++)
        {
            for (nint tap = 0; tap < 9; tap++)
            {
                ref var from = ref Unsafe.Add(ref weights, (k * Tile.Columns) + (tap * tapPitch));
                Unsafe.As<T, Columns>(ref Unsafe.Add(ref filter, tap * Tile.Columns)) = Unsafe.As<T, Columns>(ref from);
                Prefetch.Near(ref Unsafe.As<T, float>(ref Unsafe.Add(ref from, 2 * Tile.Columns)));
            }

            for (nint column = 0; column < Tile.Columns; column += V.Count)
            {
                ref var to = ref Unsafe.Add(ref target, (column / pitch * block) + (k * pitch) + (column % pitch));
                var ahead = column % Prefetch.Line == 0 ? pitch : 0;
                FilterColumns(ref Unsafe.Add(ref filter, column), ref Unsafe.As<Values, float>(ref values), ref to, distance, ahead);
            }
        }
    }

    /// <summary>A register of columns; those at <paramref name="ahead"/> come next, unless that is 0.</summary>
    [MethodImpl(Options)]
    private static void FilterColumns(ref T taps, ref float between, ref float target, nint distance, nint ahead)
    {
        for (nint j = 0; j < 3; j++)
        {
            ref var from = ref Unsafe.Add(ref taps, j * Tile.Columns);
            Filter(
                F.Load<V>(ref from, 0), F.Load<V>(ref from, 3 * Tile.Columns), F.Load<V>(ref from, 6 * Tile.Columns),
                ref Unsafe.Add(ref between, j * V.Count), 3 * V.Count);
        }

        for (nint i = 0; i < Winograd.Side; i++)
        {
            ref var row = ref Unsafe.Add(ref between, i * 3 * V.Count);
            ref var to = ref Unsafe.Add(ref target, i * Winograd.Side * distance);
            if (ahead != 0)
            {
                PrefetchSix(ref Unsafe.Add(ref to, ahead), distance);
            }

            Filter(V.Load(ref row), V.Load(ref row, V.Count), V.Load(ref row, 2 * V.Count), ref to, distance);
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
                if (c % Prefetch.Line == 0)
                {
                    PrefetchSix(ref Unsafe.Add(ref column, Prefetch.Line), Winograd.Side * distance);
                }

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

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PrefetchSix(ref float first, nint distance)
    {
        Prefetch.Near(ref first);
        Prefetch.Near(ref Unsafe.Add(ref first, distance));
        Prefetch.Near(ref Unsafe.Add(ref first, 2 * distance));
        Prefetch.Near(ref Unsafe.Add(ref first, 3 * distance));
        Prefetch.Near(ref Unsafe.Add(ref first, 4 * distance));
        Prefetch.Near(ref Unsafe.Add(ref first, 5 * distance));
    }

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

    /// <summary>The columns of a packed panel at one depth.</summary>
    [InlineArray(Tile.Columns)]
    private struct Columns
    {
        private T first;
    }

    [InlineArray(9 * Tile.Columns)]
    private struct Taps
    {
        private T first;
    }

    /// <summary>What the first transform leaves for the second one.</summary>
    [InlineArray(Winograd.Values)]
    private struct Values
    {
        private V first;
    }
}
