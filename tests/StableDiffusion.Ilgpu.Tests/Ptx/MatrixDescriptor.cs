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
    public const int Piece = 8;

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

    /// <summary>
    /// Where the pieces of some of the rows are: row after row, or where the factor is transposed depth after depth.
    /// </summary>
    public ulong[] Addresses(int firstRow, int rows)
    {
        var (start, leading, stride) = ((Bits & 0x3FFF) << 4, (Bits >> 16 & 0x3FFF) << 4, (Bits >> 32 & 0x3FFF) << 4);
        var (firstLine, lines, first, length) = IsTransposed ? (0, Depth, firstRow, rows) : (firstRow, rows, 0, Depth);
        var (perLine, swizzle) = (Line / 2, (ulong)(Line / 16) - 1);
        var addresses = new ulong[rows * Depth / Piece];
        var i = 0;
        for (var line = firstLine; line < firstLine + lines; line++)
        {
            var lineStart = start + ((ulong)(line / 8) * stride) + (ulong)(line % 8 * Line);
            for (var along = first; along < first + length; along += Piece)
            {
                var address = lineStart + ((ulong)(along / perLine) * leading) + (ulong)(along % perLine * 2);
                addresses[i++] = address ^ ((address >> 7 & swizzle) << 4);
            }
        }

        return addresses;
    }
}
