using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;
using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>
/// The layout that the matrix kernels read: panels of 32 columns, each [depth, 32], with the depth ordered by tap, then input channel.
/// With Geglu a panel holds 16 columns of h and the 16 of the gate that belong to them.
/// </summary>
internal static class WeightPacker
{
    /// <summary>Rows and columns of the squares of 16-bit values that are turned in registers.</summary>
    private const int Square = 8;

    /// <summary>A cache line of each row is used up before the next rows come: rows may all fall on the same cache sets.</summary>
    private const int Line = 32;

    public static int Panels(Contraction op) => Tile.RoundUp(op.Columns, Tile.Columns) / Tile.Columns;

    /// <summary>Taps times input channels.</summary>
    public static int Depth(Contraction op) => (int)op.Kernel.Shape.Skip(1).Aggregate(1L, (a, b) => a * b);

    /// <summary>Where output channel <paramref name="row"/> of the merged weight goes.</summary>
    public static int PackedColumn(Contraction op, int row)
    {
        const int half = Tile.Columns / 2;
        if (!op.Geglu)
        {
            return row;
        }

        var gate = row >= op.Columns / 2;
        var column = gate ? row - (op.Columns / 2) : row;
        return (column / half * Tile.Columns) + (column % half) + (gate ? half : 0);
    }

    /// <summary>The rows of the merged weight that a panel's columns are: at most two ranges, each from a column of the panel on.</summary>
    public static IEnumerable<(int Column, int FirstRow, int Count)> RowsOf(Contraction op, int panel)
    {
        var (halves, columns) = op.Geglu ? (2, op.Columns / 2) : (1, op.Columns);
        var width = Tile.Columns / halves;
        var count = Math.Min(width, columns - (panel * width));
        return Enumerable.Range(0, halves).Select(half => (half * width, (half * columns) + (panel * width), count));
    }

    /// <summary>Packs a panel.</summary>
    /// <param name="rows">(32, channels, taps): a row for each column of the panel.</param>
    /// <param name="taps">Of the window; 1 for a linear layer.</param>
    /// <param name="panel">(taps, channels, 32).</param>
    public static void Pack<T>(ReadOnlySpan<T> rows, int taps, Span<T> panel) where T : unmanaged
    {
        if (panel.Length != rows.Length || rows.Length % (taps * Tile.Columns) != 0)
        {
            throw new ArgumentException($"{rows.Length} values of {taps} taps do not fill a panel of {panel.Length}", nameof(panel));
        }

        var depth = rows.Length / Tile.Columns;
        var done = typeof(T) == typeof(ushort) && Vector128.IsHardwareAccelerated ? depth / Square * Square : 0;
        if (done > 0)
        {
            PackSquares(MemoryMarshal.Cast<T, ushort>(rows), depth, taps, MemoryMarshal.Cast<T, ushort>(panel));
        }

        for (var k = done; k < depth; k++)
        {
            var target = panel.Slice(PackedDepth(k, taps, depth / taps) * Tile.Columns, Tile.Columns);
            for (var column = 0; column < target.Length; column++)
            {
                target[column] = rows[(column * depth) + k];
            }
        }
    }

    private static int PackedDepth(int k, int taps, int channels) => (k % taps * channels) + (k / taps);

    /// <summary>Packs the depths below the last multiple of 8.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PackSquares(ReadOnlySpan<ushort> rows, int depth, int taps, Span<ushort> panel)
    {
        _ = rows[(Tile.Columns * depth) - 1];
        _ = panel[(Tile.Columns * depth) - 1];
        ref var source = ref MemoryMarshal.GetReference(rows);
        ref var target = ref MemoryMarshal.GetReference(panel);
        Span<int> places = stackalloc int[Line];
        var (channel, tap) = (0, 0);
        for (var line = 0; line <= depth - Square; line += Line)
        {
            var end = Math.Min(Line, (depth - line) / Square * Square);
            for (var k = 0; k < end; k++)
            {
                places[k] = ((tap * (depth / taps)) + channel) * Tile.Columns;
                if (++tap == taps)
                {
                    tap = 0;
                    channel++;
                }
            }

            for (var row = 0; row < Tile.Columns; row += Square)
            {
                for (var k = 0; k < end; k += Square)
                {
                    ref var square = ref Unsafe.Add(ref source, (nint)((row * depth) + line + k));
                    var (r0, r1, r2, r3) = (Load(ref square, 0), Load(ref square, depth), Load(ref square, 2 * depth), Load(ref square, 3 * depth));
                    var (r4, r5) = (Load(ref square, 4 * depth), Load(ref square, 5 * depth));
                    var (r6, r7) = (Load(ref square, 6 * depth), Load(ref square, 7 * depth));

                    // Three rounds of zipping what is four rows apart.
                    var (a0, a1, a2, a3) = (Low(r0, r4), High(r0, r4), Low(r1, r5), High(r1, r5));
                    var (a4, a5, a6, a7) = (Low(r2, r6), High(r2, r6), Low(r3, r7), High(r3, r7));
                    var (b0, b1, b2, b3) = (Low(a0, a4), High(a0, a4), Low(a1, a5), High(a1, a5));
                    var (b4, b5, b6, b7) = (Low(a2, a6), High(a2, a6), Low(a3, a7), High(a3, a7));
                    Low(b0, b4).StoreUnsafe(ref target, (nuint)(places[k] + row));
                    High(b0, b4).StoreUnsafe(ref target, (nuint)(places[k + 1] + row));
                    Low(b1, b5).StoreUnsafe(ref target, (nuint)(places[k + 2] + row));
                    High(b1, b5).StoreUnsafe(ref target, (nuint)(places[k + 3] + row));
                    Low(b2, b6).StoreUnsafe(ref target, (nuint)(places[k + 4] + row));
                    High(b2, b6).StoreUnsafe(ref target, (nuint)(places[k + 5] + row));
                    Low(b3, b7).StoreUnsafe(ref target, (nuint)(places[k + 6] + row));
                    High(b3, b7).StoreUnsafe(ref target, (nuint)(places[k + 7] + row));
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<ushort> Load(ref ushort source, int offset) => Vector128.LoadUnsafe(ref source, (nuint)offset);

    /// <summary>The lower halves' values in turn.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<ushort> Low(Vector128<ushort> a, Vector128<ushort> b) =>
        Sse2.IsSupported ? Sse2.UnpackLow(a, b)
        : AdvSimd.Arm64.IsSupported ? AdvSimd.Arm64.ZipLow(a, b)
        : Vector128.Create(a[0], b[0], a[1], b[1], a[2], b[2], a[3], b[3]);

    /// <summary>The upper halves' values in turn.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<ushort> High(Vector128<ushort> a, Vector128<ushort> b) =>
        Sse2.IsSupported ? Sse2.UnpackHigh(a, b)
        : AdvSimd.Arm64.IsSupported ? AdvSimd.Arm64.ZipHigh(a, b)
        : Vector128.Create(a[4], b[4], a[5], b[5], a[6], b[6], a[7], b[7]);
}
