using System.Runtime.CompilerServices;
using StableDiffusion.Ilgpu.Kernels.Gemm;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Simd;

/// <summary>How the factors lie in memory: a type, so that distances are constants where they can be.</summary>
internal interface IMultiplyLayout
{
    /// <summary>Whether the left factor lies in a far cache, so that its next rows are to be fetched ahead.</summary>
    static abstract bool IsFar { get; }

    /// <summary>Whether a depth's values of the left factor are neighbours, instead of a row's.</summary>
    static abstract bool IsByColumn { get; }

    /// <summary>From a row of the left factor to the next one; <paramref name="pitch"/> is what the caller gave.</summary>
    static abstract nint Row(nint pitch);

    /// <summary>From a depth of the left factor to the next one.</summary>
    static abstract nint Step(nint pitch);

    /// <summary>From a depth of the right factor to the next one; <paramref name="block"/> is the columns that are multiplied at once.</summary>
    static abstract nint PanelPitch(nint block);
}

/// <summary>Row by row at the pitch <see cref="Tile.SourcePitch"/>, times a panel as it is: attention's scores.</summary>
internal readonly struct RowByRow : IMultiplyLayout
{
    public static bool IsFar => false;

    public static bool IsByColumn => false;

    public static nint Row(nint pitch) => Tile.SourcePitch;

    public static nint Step(nint pitch) => 1;

    public static nint PanelPitch(nint block) => Tile.Columns;
}

/// <summary>The same, times a panel in blocks of the columns that are multiplied at once: contractions.</summary>
internal readonly struct RowByBlock : IMultiplyLayout
{
    public static bool IsFar => false;

    public static bool IsByColumn => false;

    public static nint Row(nint pitch) => Tile.SourcePitch;

    public static nint Step(nint pitch) => 1;

    public static nint PanelPitch(nint block) => block;
}

/// <summary>Row by row at the pitch <see cref="Winograd.SourcePitch"/>: the 36 products have more rows than second-level caches hold.</summary>
internal readonly struct WinogradRows : IMultiplyLayout
{
    public static bool IsFar => true;

    public static bool IsByColumn => false;

    public static nint Row(nint pitch) => Winograd.SourcePitch;

    public static nint Step(nint pitch) => 1;

    public static nint PanelPitch(nint block) => block;
}

/// <summary>Column by column at any pitch, times a panel as it is.</summary>
internal readonly struct ColumnByColumn : IMultiplyLayout
{
    public static bool IsFar => false;

    public static bool IsByColumn => true;

    public static nint Row(nint pitch) => 1;

    public static nint Step(nint pitch) => pitch;

    public static nint PanelPitch(nint block) => Tile.Columns;
}

/// <summary>
/// The matrix micro-kernel: a block of rows times a panel, with the sums in registers. A row's value is broadcast,
/// two registers of columns are loaded, and each product is one fused multiply-add; at 8 rows and 512 bits that is 16 of them for
/// 10 loads, at 6 rows and 256 bits 12 for 8, which keeps both multipliers of current cores busy.
/// Each block is a method of its own: together they are more than the JIT will inline into one.
/// </summary>
internal static class SimdMultiply<V> where V : struct, ISimd<V>
{
    private const MethodImplOptions Block = MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining;

    /// <summary>Depths for one turn of the loop: each instruction beside the multiply-adds counts where two threads share a core.</summary>
    private const int Unrolled = 4;

    /// <summary>
    /// C (+)= A B with A row by row, at the pitch <see cref="Tile.SourcePitch"/> or <see cref="Winograd.SourcePitch"/>, for as many columns as B's
    /// pitch: 32, or the 2 * <c>V.Count</c> that are multiplied at once.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Rows(ref float a, int aPitch, ref float b, int bPitch, ref float c, int cPitch, int rows, int depth, bool accumulate)
    {
        if (aPitch == Winograd.SourcePitch)
        {
            Sweep<WinogradRows>(ref a, 0, ref b, ref c, cPitch, rows, depth, accumulate);
        }
        else if (bPitch == Tile.Columns)
        {
            Sweep<RowByRow>(ref a, 0, ref b, ref c, cPitch, rows, depth, accumulate);
        }
        else
        {
            Sweep<RowByBlock>(ref a, 0, ref b, ref c, cPitch, rows, depth, accumulate);
        }
    }

    /// <summary>C += A^T B with A column by column at <paramref name="aPitch"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Columns(ref float a, int aPitch, ref float b, ref float c, int rows, int depth) =>
        Sweep<ColumnByColumn>(ref a, aPitch, ref b, ref c, Tile.Columns, rows, depth, true);

    /// <summary>Column block by column block, so that the part of B that is read again for all rows is as small as it can be.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Sweep<TLayout>(
        ref float a, nint pitch, ref float b, ref float c, int cPitch, int rows, int depth, bool accumulate)
        where TLayout : struct, IMultiplyLayout
    {
        for (nint column = 0; column < TLayout.PanelPitch(2 * V.Count); column += 2 * V.Count)
        {
            ref var panel = ref Unsafe.Add(ref b, column);
            for (var row = 0; row < rows;)
            {
                ref var source = ref Unsafe.Add(ref a, row * TLayout.Row(pitch));
                ref var target = ref Unsafe.Add(ref c, (row * cPitch) + column);
                if (typeof(V) == typeof(Simd128) && LaneMultiply.IsHardwareAccelerated)
                {
                    LaneMultiply.Block<TLayout>(ref source, pitch, ref panel, ref target, cPitch, depth, accumulate);
                    row += LaneMultiply.Rows;
                }
                else if (V.TileRows == 8)
                {
                    Block8<TLayout>(ref source, pitch, ref panel, ref target, cPitch, depth, accumulate);
                    row += 8;
                }
                else if (V.TileRows == 6 && rows - row is > 8 or 6 or 5)
                {
                    Block6<TLayout>(ref source, pitch, ref panel, ref target, cPitch, depth, accumulate);
                    row += 6;
                }
                else
                {
                    Block4<TLayout>(ref source, pitch, ref panel, ref target, cPitch, depth, accumulate);
                    row += 4;
                }
            }
        }
    }

    [MethodImpl(Block)]
    private static void Block8<TLayout>(ref float a, nint pitch, ref float b, ref float c, nint cPitch, int depth, bool accumulate)
        where TLayout : struct, IMultiplyLayout
    {
        V x0, x1, x2, x3, x4, x5, x6, x7, y0, y1, y2, y3, y4, y5, y6, y7;
        x0 = x1 = x2 = x3 = x4 = x5 = x6 = x7 = y0 = y1 = y2 = y3 = y4 = y5 = y6 = y7 = V.Create(0);
        if (accumulate)
        {
            LoadRow(ref c, out x0, out y0);
            LoadRow(ref Unsafe.Add(ref c, cPitch), out x1, out y1);
            LoadRow(ref Unsafe.Add(ref c, 2 * cPitch), out x2, out y2);
            LoadRow(ref Unsafe.Add(ref c, 3 * cPitch), out x3, out y3);
            LoadRow(ref Unsafe.Add(ref c, 4 * cPitch), out x4, out y4);
            LoadRow(ref Unsafe.Add(ref c, 5 * cPitch), out x5, out y5);
            LoadRow(ref Unsafe.Add(ref c, 6 * cPitch), out x6, out y6);
            LoadRow(ref Unsafe.Add(ref c, 7 * cPitch), out x7, out y7);
        }

        PrefetchRows(ref Unsafe.Add(ref c, 8 * cPitch), cPitch, 8);
        for (; depth >= Unrolled; depth -= Unrolled)
        {
            if (TLayout.IsFar && (depth & (Prefetch.Line - Unrolled)) == 0)
            {
                PrefetchRows(ref Unsafe.Add(ref a, 8 * TLayout.Row(pitch)), TLayout.Row(pitch), 8);
            }

            Step8<TLayout>(ref a, pitch, ref b, 0,
                ref x0, ref y0, ref x1, ref y1, ref x2, ref y2, ref x3, ref y3, ref x4, ref y4, ref x5, ref y5, ref x6, ref y6, ref x7, ref y7);
            Step8<TLayout>(ref a, pitch, ref b, 1,
                ref x0, ref y0, ref x1, ref y1, ref x2, ref y2, ref x3, ref y3, ref x4, ref y4, ref x5, ref y5, ref x6, ref y6, ref x7, ref y7);
            Step8<TLayout>(ref a, pitch, ref b, 2,
                ref x0, ref y0, ref x1, ref y1, ref x2, ref y2, ref x3, ref y3, ref x4, ref y4, ref x5, ref y5, ref x6, ref y6, ref x7, ref y7);
            Step8<TLayout>(ref a, pitch, ref b, 3,
                ref x0, ref y0, ref x1, ref y1, ref x2, ref y2, ref x3, ref y3, ref x4, ref y4, ref x5, ref y5, ref x6, ref y6, ref x7, ref y7);
            a = ref Unsafe.Add(ref a, Unrolled * TLayout.Step(pitch));
            b = ref Unsafe.Add(ref b, Unrolled * TLayout.PanelPitch(2 * V.Count));
        }

        for (; depth > 0; depth--)
        {
            Step8<TLayout>(ref a, pitch, ref b, 0,
                ref x0, ref y0, ref x1, ref y1, ref x2, ref y2, ref x3, ref y3, ref x4, ref y4, ref x5, ref y5, ref x6, ref y6, ref x7, ref y7);
            a = ref Unsafe.Add(ref a, TLayout.Step(pitch));
            b = ref Unsafe.Add(ref b, TLayout.PanelPitch(2 * V.Count));
        }

        StoreRow(x0, y0, ref c);
        StoreRow(x1, y1, ref Unsafe.Add(ref c, cPitch));
        StoreRow(x2, y2, ref Unsafe.Add(ref c, 2 * cPitch));
        StoreRow(x3, y3, ref Unsafe.Add(ref c, 3 * cPitch));
        StoreRow(x4, y4, ref Unsafe.Add(ref c, 4 * cPitch));
        StoreRow(x5, y5, ref Unsafe.Add(ref c, 5 * cPitch));
        StoreRow(x6, y6, ref Unsafe.Add(ref c, 6 * cPitch));
        StoreRow(x7, y7, ref Unsafe.Add(ref c, 7 * cPitch));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Step8<TLayout>(
        ref float a, nint pitch, ref float b, nint k,
        ref V x0, ref V y0, ref V x1, ref V y1, ref V x2, ref V y2, ref V x3, ref V y3,
        ref V x4, ref V y4, ref V x5, ref V y5, ref V x6, ref V y6, ref V x7, ref V y7)
        where TLayout : struct, IMultiplyLayout
    {
        var at = k * TLayout.PanelPitch(2 * V.Count);
        var (left, right) = (V.Load(ref b, at), V.Load(ref b, at + V.Count));
        AddRow(V.Create(Unsafe.Add(ref a, k * TLayout.Step(pitch))), left, right, ref x0, ref y0);
        AddRow(V.Create(Unsafe.Add(ref a, TLayout.Row(pitch) + (k * TLayout.Step(pitch)))), left, right, ref x1, ref y1);
        AddRow(V.Create(Unsafe.Add(ref a, (2 * TLayout.Row(pitch)) + (k * TLayout.Step(pitch)))), left, right, ref x2, ref y2);
        AddRow(V.Create(Unsafe.Add(ref a, (3 * TLayout.Row(pitch)) + (k * TLayout.Step(pitch)))), left, right, ref x3, ref y3);
        AddRow(V.Create(Unsafe.Add(ref a, (4 * TLayout.Row(pitch)) + (k * TLayout.Step(pitch)))), left, right, ref x4, ref y4);
        AddRow(V.Create(Unsafe.Add(ref a, (5 * TLayout.Row(pitch)) + (k * TLayout.Step(pitch)))), left, right, ref x5, ref y5);
        AddRow(V.Create(Unsafe.Add(ref a, (6 * TLayout.Row(pitch)) + (k * TLayout.Step(pitch)))), left, right, ref x6, ref y6);
        AddRow(V.Create(Unsafe.Add(ref a, (7 * TLayout.Row(pitch)) + (k * TLayout.Step(pitch)))), left, right, ref x7, ref y7);
    }

    /// <summary>For machines with sixteen registers: twelve of them hold sums.</summary>
    [MethodImpl(Block)]
    private static void Block6<TLayout>(ref float a, nint pitch, ref float b, ref float c, nint cPitch, int depth, bool accumulate)
        where TLayout : struct, IMultiplyLayout
    {
        V x0, x1, x2, x3, x4, x5, y0, y1, y2, y3, y4, y5;
        x0 = x1 = x2 = x3 = x4 = x5 = y0 = y1 = y2 = y3 = y4 = y5 = V.Create(0);
        if (accumulate)
        {
            LoadRow(ref c, out x0, out y0);
            LoadRow(ref Unsafe.Add(ref c, cPitch), out x1, out y1);
            LoadRow(ref Unsafe.Add(ref c, 2 * cPitch), out x2, out y2);
            LoadRow(ref Unsafe.Add(ref c, 3 * cPitch), out x3, out y3);
            LoadRow(ref Unsafe.Add(ref c, 4 * cPitch), out x4, out y4);
            LoadRow(ref Unsafe.Add(ref c, 5 * cPitch), out x5, out y5);
        }

        PrefetchRows(ref Unsafe.Add(ref c, 6 * cPitch), cPitch, 6);
        for (; depth >= Unrolled; depth -= Unrolled)
        {
            if (TLayout.IsFar && (depth & (Prefetch.Line - Unrolled)) == 0)
            {
                PrefetchRows(ref Unsafe.Add(ref a, 6 * TLayout.Row(pitch)), TLayout.Row(pitch), 6);
            }

            Step6<TLayout>(ref a, pitch, ref b, 0, ref x0, ref y0, ref x1, ref y1, ref x2, ref y2, ref x3, ref y3, ref x4, ref y4, ref x5, ref y5);
            Step6<TLayout>(ref a, pitch, ref b, 1, ref x0, ref y0, ref x1, ref y1, ref x2, ref y2, ref x3, ref y3, ref x4, ref y4, ref x5, ref y5);
            Step6<TLayout>(ref a, pitch, ref b, 2, ref x0, ref y0, ref x1, ref y1, ref x2, ref y2, ref x3, ref y3, ref x4, ref y4, ref x5, ref y5);
            Step6<TLayout>(ref a, pitch, ref b, 3, ref x0, ref y0, ref x1, ref y1, ref x2, ref y2, ref x3, ref y3, ref x4, ref y4, ref x5, ref y5);
            a = ref Unsafe.Add(ref a, Unrolled * TLayout.Step(pitch));
            b = ref Unsafe.Add(ref b, Unrolled * TLayout.PanelPitch(2 * V.Count));
        }

        for (; depth > 0; depth--)
        {
            Step6<TLayout>(ref a, pitch, ref b, 0, ref x0, ref y0, ref x1, ref y1, ref x2, ref y2, ref x3, ref y3, ref x4, ref y4, ref x5, ref y5);
            a = ref Unsafe.Add(ref a, TLayout.Step(pitch));
            b = ref Unsafe.Add(ref b, TLayout.PanelPitch(2 * V.Count));
        }

        StoreRow(x0, y0, ref c);
        StoreRow(x1, y1, ref Unsafe.Add(ref c, cPitch));
        StoreRow(x2, y2, ref Unsafe.Add(ref c, 2 * cPitch));
        StoreRow(x3, y3, ref Unsafe.Add(ref c, 3 * cPitch));
        StoreRow(x4, y4, ref Unsafe.Add(ref c, 4 * cPitch));
        StoreRow(x5, y5, ref Unsafe.Add(ref c, 5 * cPitch));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Step6<TLayout>(
        ref float a, nint pitch, ref float b, nint k,
        ref V x0, ref V y0, ref V x1, ref V y1, ref V x2, ref V y2, ref V x3, ref V y3, ref V x4, ref V y4, ref V x5, ref V y5)
        where TLayout : struct, IMultiplyLayout
    {
        var at = k * TLayout.PanelPitch(2 * V.Count);
        var (left, right) = (V.Load(ref b, at), V.Load(ref b, at + V.Count));
        AddRow(V.Create(Unsafe.Add(ref a, k * TLayout.Step(pitch))), left, right, ref x0, ref y0);
        AddRow(V.Create(Unsafe.Add(ref a, TLayout.Row(pitch) + (k * TLayout.Step(pitch)))), left, right, ref x1, ref y1);
        AddRow(V.Create(Unsafe.Add(ref a, (2 * TLayout.Row(pitch)) + (k * TLayout.Step(pitch)))), left, right, ref x2, ref y2);
        AddRow(V.Create(Unsafe.Add(ref a, (3 * TLayout.Row(pitch)) + (k * TLayout.Step(pitch)))), left, right, ref x3, ref y3);
        AddRow(V.Create(Unsafe.Add(ref a, (4 * TLayout.Row(pitch)) + (k * TLayout.Step(pitch)))), left, right, ref x4, ref y4);
        AddRow(V.Create(Unsafe.Add(ref a, (5 * TLayout.Row(pitch)) + (k * TLayout.Step(pitch)))), left, right, ref x5, ref y5);
    }

    /// <summary>For what six rows do not divide, and for narrow registers.</summary>
    [MethodImpl(Block)]
    private static void Block4<TLayout>(ref float a, nint pitch, ref float b, ref float c, nint cPitch, int depth, bool accumulate)
        where TLayout : struct, IMultiplyLayout
    {
        V x0, x1, x2, x3, y0, y1, y2, y3;
        x0 = x1 = x2 = x3 = y0 = y1 = y2 = y3 = V.Create(0);
        if (accumulate)
        {
            LoadRow(ref c, out x0, out y0);
            LoadRow(ref Unsafe.Add(ref c, cPitch), out x1, out y1);
            LoadRow(ref Unsafe.Add(ref c, 2 * cPitch), out x2, out y2);
            LoadRow(ref Unsafe.Add(ref c, 3 * cPitch), out x3, out y3);
        }

        PrefetchRows(ref Unsafe.Add(ref c, 4 * cPitch), cPitch, 4);
        for (; depth >= Unrolled; depth -= Unrolled)
        {
            if (TLayout.IsFar && (depth & (Prefetch.Line - Unrolled)) == 0)
            {
                PrefetchRows(ref Unsafe.Add(ref a, 4 * TLayout.Row(pitch)), TLayout.Row(pitch), 4);
            }

            Step4<TLayout>(ref a, pitch, ref b, 0, ref x0, ref y0, ref x1, ref y1, ref x2, ref y2, ref x3, ref y3);
            Step4<TLayout>(ref a, pitch, ref b, 1, ref x0, ref y0, ref x1, ref y1, ref x2, ref y2, ref x3, ref y3);
            Step4<TLayout>(ref a, pitch, ref b, 2, ref x0, ref y0, ref x1, ref y1, ref x2, ref y2, ref x3, ref y3);
            Step4<TLayout>(ref a, pitch, ref b, 3, ref x0, ref y0, ref x1, ref y1, ref x2, ref y2, ref x3, ref y3);
            a = ref Unsafe.Add(ref a, Unrolled * TLayout.Step(pitch));
            b = ref Unsafe.Add(ref b, Unrolled * TLayout.PanelPitch(2 * V.Count));
        }

        for (; depth > 0; depth--)
        {
            Step4<TLayout>(ref a, pitch, ref b, 0, ref x0, ref y0, ref x1, ref y1, ref x2, ref y2, ref x3, ref y3);
            a = ref Unsafe.Add(ref a, TLayout.Step(pitch));
            b = ref Unsafe.Add(ref b, TLayout.PanelPitch(2 * V.Count));
        }

        StoreRow(x0, y0, ref c);
        StoreRow(x1, y1, ref Unsafe.Add(ref c, cPitch));
        StoreRow(x2, y2, ref Unsafe.Add(ref c, 2 * cPitch));
        StoreRow(x3, y3, ref Unsafe.Add(ref c, 3 * cPitch));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Step4<TLayout>(
        ref float a, nint pitch, ref float b, nint k, ref V x0, ref V y0, ref V x1, ref V y1, ref V x2, ref V y2, ref V x3, ref V y3)
        where TLayout : struct, IMultiplyLayout
    {
        var at = k * TLayout.PanelPitch(2 * V.Count);
        var (left, right) = (V.Load(ref b, at), V.Load(ref b, at + V.Count));
        AddRow(V.Create(Unsafe.Add(ref a, k * TLayout.Step(pitch))), left, right, ref x0, ref y0);
        AddRow(V.Create(Unsafe.Add(ref a, TLayout.Row(pitch) + (k * TLayout.Step(pitch)))), left, right, ref x1, ref y1);
        AddRow(V.Create(Unsafe.Add(ref a, (2 * TLayout.Row(pitch)) + (k * TLayout.Step(pitch)))), left, right, ref x2, ref y2);
        AddRow(V.Create(Unsafe.Add(ref a, (3 * TLayout.Row(pitch)) + (k * TLayout.Step(pitch)))), left, right, ref x3, ref y3);
    }

    /// <summary>A cache line of each of the 4, 6 or 8 rows that come next.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PrefetchRows(ref float first, nint pitch, int rows)
    {
        Prefetch.Near(ref first);
        Prefetch.Near(ref Unsafe.Add(ref first, pitch));
        Prefetch.Near(ref Unsafe.Add(ref first, 2 * pitch));
        Prefetch.Near(ref Unsafe.Add(ref first, 3 * pitch));
        if (rows > 4)
        {
            Prefetch.Near(ref Unsafe.Add(ref first, 4 * pitch));
            Prefetch.Near(ref Unsafe.Add(ref first, 5 * pitch));
        }

        if (rows > 6)
        {
            Prefetch.Near(ref Unsafe.Add(ref first, 6 * pitch));
            Prefetch.Near(ref Unsafe.Add(ref first, 7 * pitch));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void AddRow(V value, V left, V right, ref V x, ref V y)
    {
        V.AddProduct(ref x, value, left);
        V.AddProduct(ref y, value, right);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void LoadRow(ref float source, out V x, out V y) => (x, y) = (V.Load(ref source), V.Load(ref source, V.Count));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void StoreRow(V x, V y, ref float target)
    {
        V.Store(x, ref target);
        V.Store(y, ref target, V.Count);
    }
}
