using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>
/// A contraction on tensor cores: a group of four warps multiplies one tile, of the whole depth or of one split of it
/// (<see cref="TensorMultiply{TTile, TLoop}"/>), then finishes its sums from shared memory, 64 rows at a time (<see cref="TensorPass{TTile, TLoop}"/>).
/// </summary>
internal static class TensorGemmKernel<TTile, TLoop>
    where TTile : struct, ITensorTile
    where TLoop : struct, ITensorLoop
{
    private const int MostRows = 128;

    public static KernelConfig Shape(TensorGemmArguments t) => new(
        t.Gemm.Tiles * t.Splits, TensorTileShape.Threads,
        SharedMemoryConfig.RequestDynamic<Float4>(SharedBytes / 16));

    public static int SharedBytes => TensorTileShape.Of<TTile>().SharedBytes(default(TLoop).Depth, default(TLoop).Stages(TensorTileShape.Of<TTile>()));

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
        var stages = (sums + TensorTileShape.StageAlignment - 1) & ~(uint)(TensorTileShape.StageAlignment - 1);
        var firstBlock = split * t.SplitBlocks;
        TensorMultiply<TTile, TLoop>.Begin(
            0, PtxCode.AddressOf(ref a.Arena[a.Source]), PtxCode.AddressOf(ref a.Weights[(long)firstPanel * a.Depth * Tile.Columns]), a.SourcePitch / 8,
            a.Depth * Tile.Columns * sizeof(ushort), a.Panels - firstPanel, a.Channels, a.Kernel, firstBlock,
            IntrinsicMath.Min(t.SplitBlocks, t.Blocks - firstBlock));
        TensorMultiply<TTile, TLoop>.Run(
            0, a.Height, a.Width, a.SourceWidth, t.HeightRatio, t.WidthRatio, a.Circular, stages, (uint)PtxCode.AddressOf(ref rows[0]));
        for (var pass = 0; pass < tile.Rows / TensorTileShape.PassRows; pass++)
        {
            Group.Barrier();
            TensorMultiply<TTile, TLoop>.StoreSums(0, pass, sums);
            Group.Barrier();
            TensorPass<TTile, TLoop>.Finish(t, shared, firstRow + (pass * TensorTileShape.PassRows), firstPanel, split);
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
}
