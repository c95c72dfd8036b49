using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>
/// The layout that the matrix kernels read: panels of 32 columns, each [depth, 32], with the depth ordered by tap, then input channel.
/// With Geglu a panel holds 16 columns of h and the 16 of the gate that belong to them.
/// </summary>
internal static class WeightPacker
{
    private const int DepthBlock = 64;

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

    /// <summary>Packs one part, row-major (out, in, kh, kw), into zeroed panels. Rows are those of the merged weight, from <paramref name="firstRow"/>.</summary>
    public static void Pack<T>(Contraction op, int firstRow, ReadOnlySpan<T> part, Span<T> panels) where T : unmanaged
    {
        var depth = Depth(op);
        var rows = part.Length / depth;
        var taps = op.Window.Kernel * op.Window.Kernel;
        var channels = depth / taps;
        for (var group = 0; group < rows; group += Tile.Columns / 2)
        {
            // Sixteen rows lie side by side in one panel, unless a sibling starts between.
            for (var block = 0; block < depth; block += DepthBlock)
            {
                var end = Math.Min(depth, block + DepthBlock);
                for (var row = group; row < Math.Min(rows, group + (Tile.Columns / 2)); row++)
                {
                    var column = PackedColumn(op, firstRow + row);
                    var target = panels[((column / Tile.Columns * depth * Tile.Columns) + (column % Tile.Columns))..];
                    var source = part.Slice(row * depth, depth);
                    if (taps == 1)
                    {
                        for (var k = block; k < end; k++)
                        {
                            target[k * Tile.Columns] = source[k];
                        }
                    }
                    else
                    {
                        var (tap, channel) = Math.DivRem(block, channels);
                        for (var k = block; k < end; k++)
                        {
                            target[k * Tile.Columns] = source[(channel * taps) + tap];
                            if (++channel == channels)
                            {
                                channel = 0;
                                tap++;
                            }
                        }
                    }
                }
            }
        }
    }
}
