using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>
/// A contraction on tensor cores: a group of four warps multiplies one tile, of the whole depth or of one split of it
/// (<see cref="TensorMultiply{TTile}"/>), then finishes its sums half by half from shared memory, eight neighbouring columns at a time.
/// </summary>
internal static class TensorGemmKernel<TTile> where TTile : struct, ITensorTile
{
    private const int MostRows = 128;

    public static KernelConfig Shape(TensorGemmArguments t) => new(
        t.Gemm.Tiles * t.Splits, TensorTileShape.Threads,
        SharedMemoryConfig.RequestDynamic<Float4>(TensorTileShape.Of<TTile>().SharedBytes / 16));

    public static void Run(TensorGemmArguments t)
    {
        var a = t.Gemm;
        var tile = default(TTile);
        var shared = SharedMemory.GetDynamic<Float4>();
        var rows = SharedMemory.Allocate<TensorWindow>(MostRows);
        var split = Grid.IdxX / a.Tiles;
        var firstRow = Grid.IdxX % a.Tiles % a.RowTiles * tile.Rows;
        var firstPanel = Grid.IdxX % a.Tiles / a.RowTiles * tile.Panels;
        for (var row = Group.IdxX; row < tile.Rows; row += TensorTileShape.Threads)
        {
            rows[row] = FindWindow(a, firstRow + row);
        }

        Group.Barrier();
        var sums = (uint)PtxCode.AddressOf(ref shared[0]);
        var firstBlock = split * t.SplitBlocks;
        TensorMultiply<TTile>.Begin(
            0, PtxCode.AddressOf(ref a.Arena[a.Source]), PtxCode.AddressOf(ref a.Weights[(long)firstPanel * a.Depth * Tile.Columns]), a.SourcePitch / 8,
            a.Depth * Tile.Columns * sizeof(ushort), a.Panels - firstPanel, a.Channels, a.Kernel, firstBlock,
            IntrinsicMath.Min(t.SplitBlocks, t.Blocks - firstBlock));
        TensorMultiply<TTile>.Run(
            0, a.Height, a.Width, a.SourceWidth, t.HeightRatio, t.WidthRatio, a.Circular, sums, (uint)PtxCode.AddressOf(ref rows[0]));
        for (var half = 0; half < 2; half++)
        {
            Group.Barrier();
            TensorMultiply<TTile>.StoreSums(0, half, sums);
            Group.Barrier();
            Finish(t, shared, firstRow + (half * (tile.Rows / 2)), firstPanel, split);
        }
    }

    private static TensorWindow FindWindow(GemmArguments<ushort> a, int row)
    {
        var (first, y, x) = (row, 0, 0);
        if (!a.IsPointwise)
        {
            var (item, pixel) = (row / a.OutputPixels, row % a.OutputPixels);
            first = item * a.SourceHeight * a.SourceWidth;
            y = (pixel / a.OutputWidth * a.Stride) - a.PadTop;
            x = (pixel % a.OutputWidth * a.Stride) - a.PadLeft;
        }

        return new TensorWindow { FirstPixel = row < a.Rows ? first : -1, Origin = (x << 16) | (y & 0xFFFF) };
    }

    /// <summary>Half of a tile: finished and stored, or added to the splits' sums as it is.</summary>
    private static void Finish(TensorGemmArguments t, ArrayView<Float4> sums, int firstRow, int firstPanel, int split)
    {
        var a = t.Gemm;
        var tile = default(TTile);
        var chunks = tile.Panels * Tile.Columns / 8;
        for (var i = Group.IdxX; i < tile.Rows / 2 * chunks; i += TensorTileShape.Threads)
        {
            var (row, packed) = (i / chunks, i % chunks * 8);
            var at = ((row * ((tile.Panels * Tile.Columns) + 8)) + packed) / 4;
            var column = (firstPanel * Tile.Columns) + packed;
            if (firstRow + row >= a.Rows || column >= t.PackedColumns)
            {
                continue;
            }

            if (t.Splits > 1)
            {
                var target = t.Partial.Cast<Float4>();
                var to = ((((long)split * a.Rows) + firstRow + row) * t.PackedColumns + column) / 4;
                (target[to], target[to + 1]) = (sums[at], sums[at + 1]);
            }
            else if (a.Epilogue.Geglu == 0 || column % Tile.Columns < 16)
            {
                var values = new Float8 { Low = sums[at], High = sums[at + 1] };
                var gates = values;
                if (a.Epilogue.Geglu != 0)
                {
                    gates = new Float8 { Low = sums[at + 4], High = sums[at + 5] };
                }

                TensorEpilogue.Store(t, values, gates, firstRow + row, column);
            }
        }
    }
}
