using System.Numerics;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>
/// Rows of fp16 values in shared memory, in chunks of 16 bytes without gaps. With 2^b the largest power of two, up to 8, that divides the chunks of a row,
/// chunk c of row r is stored at c ^ (r / 2^(3 - b) % 2^b). Then the same chunk of eight rows, from a multiple of eight on, is on eight different
/// banks of 16 bytes, and so are eight chunks that follow each other, from a multiple of eight on, over the ends of rows.
/// </summary>
/// <param name="Chunks">Of a row.</param>
internal readonly record struct SharedRows(int Chunks)
{
    public int RowBytes => 16 * Chunks;

    /// <summary>Chunks that change places among each other: 2^b.</summary>
    public int Period => 1 << Bits;

    private int Bits => Math.Min(3, BitOperations.TrailingZeroCount(Chunks));

    /// <summary>Addresses that a work-item keeps to reach every second chunk of its row.</summary>
    public int Addresses => Math.Max(1, Period / 2);

    /// <summary>How the row's chunks are exchanged: register <paramref name="mask"/> becomes what chunk numbers are xor-ed with.</summary>
    public void Exchange(PtxWriter ptx, string mask, string row) =>
        ptx.Line($"shr.u32 {mask}, {row}, {3 - Bits}; and.b32 {mask}, {mask}, {Period - 1};");

    /// <summary>
    /// Registers <paramref name="name"/>0 … become the addresses of chunks <paramref name="chunk"/>, <paramref name="chunk"/> + 2 … of a row.
    /// </summary>
    /// <param name="ptx">Where to write. Register t is overwritten.</param>
    /// <param name="name">Of the addresses.</param>
    /// <param name="row">The row's register.</param>
    /// <param name="chunk">A register that is 0 or 1.</param>
    /// <param name="shared">Where the rows begin.</param>
    public void Prepare(PtxWriter ptx, string name, string row, string chunk, string shared)
    {
        Exchange(ptx, "t", row);
        ptx.Line($"xor.b32 t, t, {chunk};");
        for (var i = 0; i < Addresses; i++)
        {
            ptx.Line($"xor.b32 {name}{i}, t, {2 * i}; shl.b32 {name}{i}, {name}{i}, 4; mad.lo.s32 {name}{i}, {row}, {RowBytes}, {name}{i};");
            ptx.Line($"add.s32 {name}{i}, {name}{i}, {shared};");
        }
    }

    /// <summary>Which of the prepared addresses, and what to add, for chunk <paramref name="chunk"/>, an even number, or a last one without another.</summary>
    public (int Address, int Offset) Locate(int chunk)
    {
        var low = chunk % Period;
        return (low / 2, (chunk - low) * 16);
    }
}
