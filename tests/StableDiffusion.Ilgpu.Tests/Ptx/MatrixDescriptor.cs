using System.Runtime.InteropServices;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>
/// Where <c>wgmma</c> finds a factor of fp16 values in shared memory. Lines of 64 or 128 bytes run along the depth, or along the rows where the
/// factor is transposed (B's rows being the product's columns). Eight lines follow each other, the next eight stand the stride further on, and what
/// does not fit a line's length the leading offset. Last, the 16-byte pieces of each eight lines are swizzled by bits of their address.
/// </summary>
/// <param name="Bits">
/// As the PTX manual packs them: start in bits 0-13, leading offset in 16-29 and stride in 32-45, all in units of 16 bytes, and in 62-63 the swizzle.
/// </param>
/// <param name="IsTransposed">Whether values beside each other belong to neighbouring rows, not to neighbouring depths.</param>
internal readonly record struct MatrixDescriptor(ulong Bits, bool IsTransposed)
{
    /// <summary>Of every fp16 product.</summary>
    public const int Depth = 16;

    /// <summary>Values that stay together: 16 bytes.</summary>
    private const int Piece = 8;

    private const ulong Known = 0xC000_3FFF_3FFF_3FFF;

    /// <summary>Bytes: swizzle 1 is the one of 128 bytes, 2 that of 64.</summary>
    private int Line => 256 >> (int)(Bits >> 62);

    public void Check()
    {
        if ((Bits & ~Known) != 0 || Bits >> 62 is not (1 or 2))
        {
            throw new PtxException($"the descriptor 0x{Bits:X16}: this form is not interpreted");
        }
    }

    /// <summary>Some of the rows, one after the other, or where they are transposed the values of one depth after those of the other.</summary>
    public unsafe Half[] Read(SharedMemory shared, int firstRow, int rows, int warp)
    {
        var values = new Half[rows * Depth];
        for (var i = 0; i < values.Length / Piece; i++)
        {
            var piece = shared.ReadAsynchronously(Address(firstRow, rows, i), Piece * sizeof(Half), warp);
            new ReadOnlySpan<Half>(piece, Piece).CopyTo(values.AsSpan(i * Piece));
        }

        return values;
    }

    /// <summary>For what was read while it might not yet be: it must be there still.</summary>
    public unsafe void Verify(SharedMemory shared, int firstRow, int rows, int warp, ReadOnlySpan<Half> values)
    {
        for (var i = 0; i < values.Length / Piece; i++)
        {
            var address = Address(firstRow, rows, i);
            var piece = new ReadOnlySpan<byte>(shared.Read(address, Piece * sizeof(Half), Piece * sizeof(Half), warp), Piece * sizeof(Half));
            if (!piece.SequenceEqual(MemoryMarshal.AsBytes(values.Slice(i * Piece, Piece))))
            {
                throw new PtxException($"shared address {address} was written before the product that reads it was waited for");
            }
        }
    }

    private ulong Address(int firstRow, int rows, int piece)
    {
        var (perLine, start) = (Line / sizeof(ushort), (Bits & 0x3FFF) << 4);
        var (leading, stride) = ((Bits >> 16 & 0x3FFF) << 4, (Bits >> 32 & 0x3FFF) << 4);
        var (along, line) = IsTransposed
            ? (firstRow + (piece % (rows / Piece) * Piece), piece / (rows / Piece))
            : (piece % (Depth / Piece) * Piece, firstRow + (piece / (Depth / Piece)));
        var address = start + ((ulong)(along / perLine) * leading) + (ulong)(along % perLine * sizeof(ushort))
            + ((ulong)(line / 8) * stride) + (ulong)(line % 8 * Line);
        return address ^ ((address >> 7 & (ulong)((Line / 16) - 1)) << 4);
    }
}
