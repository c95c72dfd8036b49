using System.Runtime.CompilerServices;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Simd;

/// <summary>How the left factor lies in memory: a type, so that its distances are constants where they can be.</summary>
internal interface IMultiplyLayout
{
    /// <summary>From a row to the next one; <paramref name="pitch"/> is what the caller gave.</summary>
    static abstract nint Row(nint pitch);

    /// <summary>From a depth to the next one.</summary>
    static abstract nint Step(nint pitch);
}

/// <summary>Row by row at the fixed pitch <see cref="Tile.SourcePitch"/>.</summary>
internal readonly struct RowByRow : IMultiplyLayout
{
    public static nint Row(nint pitch) => Tile.SourcePitch;

    public static nint Step(nint pitch) => 1;
}

/// <summary>Column by column at any pitch.</summary>
internal readonly struct ColumnByColumn : IMultiplyLayout
{
    public static nint Row(nint pitch) => 1;

    public static nint Step(nint pitch) => pitch;
}

/// <summary>
/// The matrix micro-kernel: a block of rows times a panel of 32 columns, with the sums in registers. A row's value is broadcast,
/// two registers of columns are loaded, and each product is one fused multiply-add; at 8 rows and 512 bits that is 16 of them for
/// 10 loads, at 6 rows and 256 bits 12 for 8, which keeps both multipliers of current cores busy.
/// Each block is a method of its own: together they are more than the JIT will inline into one.
/// </summary>
internal static class SimdMultiply<V> where V : struct, ISimd<V>
{
    private const MethodImplOptions Block = MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining;

    /// <summary>C (+)= A B with A row by row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Rows(ref float a, ref float b, int bPitch, int bBlock, ref float c, int cPitch, int rows, int depth, bool accumulate) =>
        Sweep<RowByRow>(ref a, 0, ref b, bPitch, bPitch == Tile.Columns ? 2 * V.Count : bBlock, ref c, cPitch, rows, depth, accumulate);

    /// <summary>C += A^T B with A column by column at <paramref name="aPitch"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Columns(ref float a, int aPitch, ref float b, ref float c, int rows, int depth) =>
        Sweep<ColumnByColumn>(ref a, aPitch, ref b, Tile.Columns, 2 * V.Count, ref c, Tile.Columns, rows, depth, true);

    /// <summary>Column block by column block, so that the part of B that is read again for all rows is as small as it can be.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Sweep<TLayout>(
        ref float a, nint pitch, ref float b, nint bPitch, nint bBlock, ref float c, int cPitch, int rows, int depth, bool accumulate)
        where TLayout : struct, IMultiplyLayout
    {
        for (nint column = 0; column < Tile.Columns; column += 2 * V.Count)
        {
            ref var panel = ref Unsafe.Add(ref b, column / (2 * V.Count) * bBlock);
            for (var row = 0; row < rows;)
            {
                ref var source = ref Unsafe.Add(ref a, row * TLayout.Row(pitch));
                ref var target = ref Unsafe.Add(ref c, (row * cPitch) + column);
                if (V.TileRows == 8)
                {
                    Block8<TLayout>(ref source, pitch, ref panel, bPitch, ref target, cPitch, depth, accumulate);
                    row += 8;
                }
                else if (V.TileRows == 6 && rows - row is > 8 or 6 or 5)
                {
                    Block6<TLayout>(ref source, pitch, ref panel, bPitch, ref target, cPitch, depth, accumulate);
                    row += 6;
                }
                else
                {
                    Block4<TLayout>(ref source, pitch, ref panel, bPitch, ref target, cPitch, depth, accumulate);
                    row += 4;
                }
            }
        }
    }

    [MethodImpl(Block)]
    private static void Block8<TLayout>(ref float a, nint pitch, ref float b, nint bPitch, ref float c, nint cPitch, int depth, bool accumulate)
        where TLayout : struct, IMultiplyLayout
    {
        V x0, x1, x2, x3, x4, x5, x6, x7, y0, y1, y2, y3, y4, y5, y6, y7;
        x0 = x1 = x2 = x3 = x4 = x5 = x6 = x7 = y0 = y1 = y2 = y3 = y4 = y5 = y6 = y7 = V.Create(0);
        if (accumulate)
        {
            x0 = V.Load(ref c);
            y0 = V.Load(ref c, V.Count);
            x1 = V.Load(ref c, cPitch);
            y1 = V.Load(ref c, cPitch + V.Count);
            x2 = V.Load(ref c, 2 * cPitch);
            y2 = V.Load(ref c, (2 * cPitch) + V.Count);
            x3 = V.Load(ref c, 3 * cPitch);
            y3 = V.Load(ref c, (3 * cPitch) + V.Count);
            x4 = V.Load(ref c, 4 * cPitch);
            y4 = V.Load(ref c, (4 * cPitch) + V.Count);
            x5 = V.Load(ref c, 5 * cPitch);
            y5 = V.Load(ref c, (5 * cPitch) + V.Count);
            x6 = V.Load(ref c, 6 * cPitch);
            y6 = V.Load(ref c, (6 * cPitch) + V.Count);
            x7 = V.Load(ref c, 7 * cPitch);
            y7 = V.Load(ref c, (7 * cPitch) + V.Count);
        }

        for (var k = 0; k < depth; k++)
        {
            var left = V.Load(ref b);
            var right = V.Load(ref b, V.Count);
            var value = V.Create(a);
            x0 = V.MultiplyAdd(value, left, x0);
            y0 = V.MultiplyAdd(value, right, y0);
            value = V.Create(Unsafe.Add(ref a, TLayout.Row(pitch)));
            x1 = V.MultiplyAdd(value, left, x1);
            y1 = V.MultiplyAdd(value, right, y1);
            value = V.Create(Unsafe.Add(ref a, 2 * TLayout.Row(pitch)));
            x2 = V.MultiplyAdd(value, left, x2);
            y2 = V.MultiplyAdd(value, right, y2);
            value = V.Create(Unsafe.Add(ref a, 3 * TLayout.Row(pitch)));
            x3 = V.MultiplyAdd(value, left, x3);
            y3 = V.MultiplyAdd(value, right, y3);
            value = V.Create(Unsafe.Add(ref a, 4 * TLayout.Row(pitch)));
            x4 = V.MultiplyAdd(value, left, x4);
            y4 = V.MultiplyAdd(value, right, y4);
            value = V.Create(Unsafe.Add(ref a, 5 * TLayout.Row(pitch)));
            x5 = V.MultiplyAdd(value, left, x5);
            y5 = V.MultiplyAdd(value, right, y5);
            value = V.Create(Unsafe.Add(ref a, 6 * TLayout.Row(pitch)));
            x6 = V.MultiplyAdd(value, left, x6);
            y6 = V.MultiplyAdd(value, right, y6);
            value = V.Create(Unsafe.Add(ref a, 7 * TLayout.Row(pitch)));
            x7 = V.MultiplyAdd(value, left, x7);
            y7 = V.MultiplyAdd(value, right, y7);
            a = ref Unsafe.Add(ref a, TLayout.Step(pitch));
            b = ref Unsafe.Add(ref b, bPitch);
        }

        V.Store(x0, ref c);
        V.Store(y0, ref c, V.Count);
        V.Store(x1, ref c, cPitch);
        V.Store(y1, ref c, cPitch + V.Count);
        V.Store(x2, ref c, 2 * cPitch);
        V.Store(y2, ref c, (2 * cPitch) + V.Count);
        V.Store(x3, ref c, 3 * cPitch);
        V.Store(y3, ref c, (3 * cPitch) + V.Count);
        V.Store(x4, ref c, 4 * cPitch);
        V.Store(y4, ref c, (4 * cPitch) + V.Count);
        V.Store(x5, ref c, 5 * cPitch);
        V.Store(y5, ref c, (5 * cPitch) + V.Count);
        V.Store(x6, ref c, 6 * cPitch);
        V.Store(y6, ref c, (6 * cPitch) + V.Count);
        V.Store(x7, ref c, 7 * cPitch);
        V.Store(y7, ref c, (7 * cPitch) + V.Count);
    }

    /// <summary>For machines with sixteen registers: twelve of them hold sums.</summary>
    [MethodImpl(Block)]
    private static void Block6<TLayout>(ref float a, nint pitch, ref float b, nint bPitch, ref float c, nint cPitch, int depth, bool accumulate)
        where TLayout : struct, IMultiplyLayout
    {
        V x0, x1, x2, x3, x4, x5, y0, y1, y2, y3, y4, y5;
        x0 = x1 = x2 = x3 = x4 = x5 = y0 = y1 = y2 = y3 = y4 = y5 = V.Create(0);
        if (accumulate)
        {
            x0 = V.Load(ref c);
            y0 = V.Load(ref c, V.Count);
            x1 = V.Load(ref c, cPitch);
            y1 = V.Load(ref c, cPitch + V.Count);
            x2 = V.Load(ref c, 2 * cPitch);
            y2 = V.Load(ref c, (2 * cPitch) + V.Count);
            x3 = V.Load(ref c, 3 * cPitch);
            y3 = V.Load(ref c, (3 * cPitch) + V.Count);
            x4 = V.Load(ref c, 4 * cPitch);
            y4 = V.Load(ref c, (4 * cPitch) + V.Count);
            x5 = V.Load(ref c, 5 * cPitch);
            y5 = V.Load(ref c, (5 * cPitch) + V.Count);
        }

        for (var k = 0; k < depth; k++)
        {
            var left = V.Load(ref b);
            var right = V.Load(ref b, V.Count);
            var value = V.Create(a);
            x0 = V.MultiplyAdd(value, left, x0);
            y0 = V.MultiplyAdd(value, right, y0);
            value = V.Create(Unsafe.Add(ref a, TLayout.Row(pitch)));
            x1 = V.MultiplyAdd(value, left, x1);
            y1 = V.MultiplyAdd(value, right, y1);
            value = V.Create(Unsafe.Add(ref a, 2 * TLayout.Row(pitch)));
            x2 = V.MultiplyAdd(value, left, x2);
            y2 = V.MultiplyAdd(value, right, y2);
            value = V.Create(Unsafe.Add(ref a, 3 * TLayout.Row(pitch)));
            x3 = V.MultiplyAdd(value, left, x3);
            y3 = V.MultiplyAdd(value, right, y3);
            value = V.Create(Unsafe.Add(ref a, 4 * TLayout.Row(pitch)));
            x4 = V.MultiplyAdd(value, left, x4);
            y4 = V.MultiplyAdd(value, right, y4);
            value = V.Create(Unsafe.Add(ref a, 5 * TLayout.Row(pitch)));
            x5 = V.MultiplyAdd(value, left, x5);
            y5 = V.MultiplyAdd(value, right, y5);
            a = ref Unsafe.Add(ref a, TLayout.Step(pitch));
            b = ref Unsafe.Add(ref b, bPitch);
        }

        V.Store(x0, ref c);
        V.Store(y0, ref c, V.Count);
        V.Store(x1, ref c, cPitch);
        V.Store(y1, ref c, cPitch + V.Count);
        V.Store(x2, ref c, 2 * cPitch);
        V.Store(y2, ref c, (2 * cPitch) + V.Count);
        V.Store(x3, ref c, 3 * cPitch);
        V.Store(y3, ref c, (3 * cPitch) + V.Count);
        V.Store(x4, ref c, 4 * cPitch);
        V.Store(y4, ref c, (4 * cPitch) + V.Count);
        V.Store(x5, ref c, 5 * cPitch);
        V.Store(y5, ref c, (5 * cPitch) + V.Count);
    }

    /// <summary>For what six rows do not divide, and for narrow registers.</summary>
    [MethodImpl(Block)]
    private static void Block4<TLayout>(ref float a, nint pitch, ref float b, nint bPitch, ref float c, nint cPitch, int depth, bool accumulate)
        where TLayout : struct, IMultiplyLayout
    {
        V x0, x1, x2, x3, y0, y1, y2, y3;
        x0 = x1 = x2 = x3 = y0 = y1 = y2 = y3 = V.Create(0);
        if (accumulate)
        {
            x0 = V.Load(ref c);
            y0 = V.Load(ref c, V.Count);
            x1 = V.Load(ref c, cPitch);
            y1 = V.Load(ref c, cPitch + V.Count);
            x2 = V.Load(ref c, 2 * cPitch);
            y2 = V.Load(ref c, (2 * cPitch) + V.Count);
            x3 = V.Load(ref c, 3 * cPitch);
            y3 = V.Load(ref c, (3 * cPitch) + V.Count);
        }

        for (var k = 0; k < depth; k++)
        {
            var left = V.Load(ref b);
            var right = V.Load(ref b, V.Count);
            var value = V.Create(a);
            x0 = V.MultiplyAdd(value, left, x0);
            y0 = V.MultiplyAdd(value, right, y0);
            value = V.Create(Unsafe.Add(ref a, TLayout.Row(pitch)));
            x1 = V.MultiplyAdd(value, left, x1);
            y1 = V.MultiplyAdd(value, right, y1);
            value = V.Create(Unsafe.Add(ref a, 2 * TLayout.Row(pitch)));
            x2 = V.MultiplyAdd(value, left, x2);
            y2 = V.MultiplyAdd(value, right, y2);
            value = V.Create(Unsafe.Add(ref a, 3 * TLayout.Row(pitch)));
            x3 = V.MultiplyAdd(value, left, x3);
            y3 = V.MultiplyAdd(value, right, y3);
            a = ref Unsafe.Add(ref a, TLayout.Step(pitch));
            b = ref Unsafe.Add(ref b, bPitch);
        }

        V.Store(x0, ref c);
        V.Store(y0, ref c, V.Count);
        V.Store(x1, ref c, cPitch);
        V.Store(y1, ref c, cPitch + V.Count);
        V.Store(x2, ref c, 2 * cPitch);
        V.Store(y2, ref c, (2 * cPitch) + V.Count);
        V.Store(x3, ref c, 3 * cPitch);
        V.Store(y3, ref c, (3 * cPitch) + V.Count);
    }
}
