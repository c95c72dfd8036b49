using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>
/// Where the blocks of 2x2 output pixels of <see cref="GpuWinogradKernel{T, TFormat}"/> lie, and the 4x4 source pixels that one of them sees, in two neighbouring channels.
/// Beyond an edge the pixel at the edge is read and put to zero, so that no branch stands between reads.
/// </summary>
internal readonly struct GpuWinogradPixels<T, TFormat>
    where T : unmanaged
    where TFormat : struct, IGpuFormat<T>
{
    /// <summary>Output pixels of a block, each way.</summary>
    public const int Pixels = 2;

    private readonly long first;

    // From there.
    private readonly int row0;
    private readonly int row1;
    private readonly int row2;
    private readonly int row3;
    private readonly int column0;
    private readonly int column1;
    private readonly int column2;
    private readonly int column3;

    // All bits set where the row or the column is there. The second one always is.
    private readonly int hasRow0;
    private readonly int hasRow2;
    private readonly int hasRow3;
    private readonly int hasColumn0;
    private readonly int hasColumn2;
    private readonly int hasColumn3;

    /// <param name="a">The convolution.</param>
    /// <param name="block">The block, of all items'.</param>
    /// <param name="channel">The first of the two.</param>
    public GpuWinogradPixels(GemmArguments<T> a, int block, int channel)
    {
        var (item, ofItem) = (block / BlocksPerItem(a), block % BlocksPerItem(a));
        var y = (ofItem / BlockColumns(a) * Pixels) - 1;
        var x = (ofItem % BlockColumns(a) * Pixels) - 1;
        first = a.Source + ((long)item * a.SourceHeight * a.SourceWidth * a.SourcePitch) + channel;
        (row0, row1, row2, row3) = (Row(a, y), Row(a, y + 1), Row(a, y + 2), Row(a, y + 3));
        (column0, column1, column2, column3) = (Column(a, x), Column(a, x + 1), Column(a, x + 2), Column(a, x + 3));
        (hasRow0, hasRow2, hasRow3) = (Has(y, a.Height), Has(y + 2, a.Height), Has(y + 3, a.Height));
        (hasColumn0, hasColumn2, hasColumn3) = (Has(x, a.Width), Has(x + 2, a.Width), Has(x + 3, a.Width));
    }

    /// <summary>Whether a pixel's place in its item is a number of 32 bits.</summary>
    public static bool Fits(in GemmArguments<T> a) => (long)a.SourceHeight * a.SourceWidth * a.SourcePitch <= int.MaxValue;

    /// <summary>Blocks of all items.</summary>
    public static int Blocks(GemmArguments<T> a) => a.Rows / a.OutputPixels * BlocksPerItem(a);

    /// <summary>The output's row for a pixel of a block; -1 where it lies beyond an edge, or the block beyond the last.</summary>
    public static int OutputRow(GemmArguments<T> a, int block, int pixel)
    {
        var (item, ofItem) = (block / BlocksPerItem(a), block % BlocksPerItem(a));
        var y = (ofItem / BlockColumns(a) * Pixels) + (pixel / Pixels);
        var x = (ofItem % BlockColumns(a) * Pixels) + (pixel % Pixels);
        return block < Blocks(a) && y < a.Height && x < a.Width ? (item * a.OutputPixels) + (y * a.Width) + x : -1;
    }

    /// <summary>A row of pixels in each row, as they lie in memory: pairs of values, to be widened by <see cref="Widen"/>.</summary>
    /// <param name="a">The convolution.</param>
    /// <param name="channel">How many channels further.</param>
    public Float4x8 Read(GemmArguments<T> a, int channel) => new()
    {
        Row0 = ReadRow(a, first + channel, row0, hasRow0),
        Row1 = ReadRow(a, first + channel, row1, -1),
        Row2 = ReadRow(a, first + channel, row2, hasRow2),
        Row3 = ReadRow(a, first + channel, row3, hasRow3),
    };

    /// <summary>The first channel's, or column's, four values low, the second one's high.</summary>
    public static Float8 Widen(Float8 row) => Join(
        default(TFormat).WidenPair(new Float2 { X = row.Low.X, Y = row.High.X }), default(TFormat).WidenPair(new Float2 { X = row.Low.Y, Y = row.High.Y }),
        default(TFormat).WidenPair(new Float2 { X = row.Low.Z, Y = row.High.Z }), default(TFormat).WidenPair(new Float2 { X = row.Low.W, Y = row.High.W }));

    /// <summary>The pairs' first values low, their second ones high.</summary>
    public static Float8 Join(Float2 pair0, Float2 pair1, Float2 pair2, Float2 pair3) => new()
    {
        Low = new Float4 { X = pair0.X, Y = pair1.X, Z = pair2.X, W = pair3.X },
        High = new Float4 { X = pair0.Y, Y = pair1.Y, Z = pair2.Y, W = pair3.Y },
    };

    private Float8 ReadRow(GemmArguments<T> a, long from, int row, int present)
    {
        var pair0 = default(TFormat).ReadPair(a.Arena, from + (row + column0), present & hasColumn0);
        var pair1 = default(TFormat).ReadPair(a.Arena, from + (row + column1), present);
        var pair2 = default(TFormat).ReadPair(a.Arena, from + (row + column2), present & hasColumn2);
        var pair3 = default(TFormat).ReadPair(a.Arena, from + (row + column3), present & hasColumn3);
        return Join(pair0, pair1, pair2, pair3);
    }

    private static int BlockColumns(GemmArguments<T> a) => (a.Width + Pixels - 1) / Pixels;

    private static int BlocksPerItem(GemmArguments<T> a) => (a.Height + Pixels - 1) / Pixels * BlockColumns(a);

    private static int Row(GemmArguments<T> a, int y) => IntrinsicMath.Clamp(y, 0, a.Height - 1) * a.SourceHeight / a.Height * a.SourceWidth * a.SourcePitch;

    private static int Column(GemmArguments<T> a, int x) => IntrinsicMath.Clamp(x, 0, a.Width - 1) * a.SourceWidth / a.Width * a.SourcePitch;

    private static int Has(int position, int size) => position >= 0 && position < size ? -1 : 0;
}
