using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>
/// The main loops for devices whose groups have many work-items: one group computes one tile. For each tap of the window the group notes which
/// source pixel each row sees; for each part of that tap's channels it copies source and weights to shared memory as fp32 (<see cref="GpuGemmTile{T, TFormat}"/>),
/// and each work-item multiplies for its own block of sums, in registers.
/// </summary>
internal static class GpuGemmKernel<T, TFormat>
    where T : unmanaged
    where TFormat : struct, IGpuFormat<T>
{
    private const int Depth = GpuGemmTile<T, TFormat>.Depth;
    private const int Unrolled = GpuGemmTile<T, TFormat>.Unrolled;

    /// <summary>64 rows by 64 columns, 8 by 8 for each work-item: 8 neighbouring rows, and 4 columns of each of two panels.</summary>
    public static void RunLarge(GemmArguments<T> a)
    {
        const int SourcePitch = GpuGemmTiling.LargeRows + 4;
        const int Columns = GpuGemmTiling.LargePanels * Tile.Columns;
        var sourceVectors = SharedMemory.Allocate<Float4>(Depth * SourcePitch / 4);
        var weightVectors = SharedMemory.Allocate<Float4>(Depth * Columns / 4);
        var pixels = SharedMemory.Allocate<int>(GpuGemmTiling.LargeRows);
        var source = sourceVectors.Cast<float>();
        var firstRow = Grid.IdxX % a.RowTiles * GpuGemmTiling.LargeRows;
        var firstPanel = Grid.IdxX / a.RowTiles * GpuGemmTiling.LargePanels;
        var (rowBlock, columnBlock) = (Group.IdxX / 8, Group.IdxX % 8);
        Float4x8 upper = default, lower = default;
        for (var tap = 0; tap < a.Kernel * a.Kernel; tap++)
        {
            pixels[Group.IdxX] = a.SourcePixel(firstRow + Group.IdxX, tap / a.Kernel, tap % a.Kernel);
            for (var channel = 0; channel < a.Channels; channel += Depth)
            {
                var count = IntrinsicMath.Min(Depth, a.Channels - channel);
                Group.Barrier();
                GpuGemmTile<T, TFormat>.Load(
                    a, pixels, GpuGemmTiling.LargeRows, GpuGemmTiling.LargePanels, firstPanel, tap, channel, source, SourcePitch, weightVectors);
                Group.Barrier();
                for (var k = 0; k < count; k += Unrolled)
                {
                    var from = (k * (SourcePitch / 4)) + (rowBlock * 2);
                    var by = (k * (Columns / 4)) + columnBlock;
                    var values = LoadPair(weightVectors, by);
                    upper = Float4x8.MultiplyAdd(upper, sourceVectors[from], values);
                    lower = Float4x8.MultiplyAdd(lower, sourceVectors[from + 1], values);
                    values = LoadPair(weightVectors, by + (Columns / 4));
                    upper = Float4x8.MultiplyAdd(upper, sourceVectors[from + (SourcePitch / 4)], values);
                    lower = Float4x8.MultiplyAdd(lower, sourceVectors[from + (SourcePitch / 4) + 1], values);
                    values = LoadPair(weightVectors, by + (Columns / 2));
                    upper = Float4x8.MultiplyAdd(upper, sourceVectors[from + (SourcePitch / 2)], values);
                    lower = Float4x8.MultiplyAdd(lower, sourceVectors[from + (SourcePitch / 2) + 1], values);
                    values = LoadPair(weightVectors, by + (Columns / 4 * 3));
                    upper = Float4x8.MultiplyAdd(upper, sourceVectors[from + (SourcePitch / 4 * 3)], values);
                    lower = Float4x8.MultiplyAdd(lower, sourceVectors[from + (SourcePitch / 4 * 3) + 1], values);
                }
            }
        }

        for (var row = 0; row < 8; row++)
        {
            var sums = row switch
            {
                0 => upper.Row0,
                1 => upper.Row1,
                2 => upper.Row2,
                3 => upper.Row3,
                4 => lower.Row0,
                5 => lower.Row1,
                6 => lower.Row2,
                _ => lower.Row3,
            };
            Group.Barrier();
            sourceVectors[(rowBlock * (Columns / 4)) + columnBlock] = sums.Low;
            sourceVectors[(rowBlock * (Columns / 4)) + (Tile.Columns / 4) + columnBlock] = sums.High;
            Group.Barrier();
            GpuGemmTile<T, TFormat>.Store(a, sourceVectors, 8, Columns, firstRow + row, 8, firstPanel, GpuGemmTiling.WorkItems);
        }
    }

    /// <summary>32 rows by 32 columns, 4 by 4 for each work-item.</summary>
    public static void RunSmall(GemmArguments<T> a)
    {
        const int SourcePitch = GpuGemmTiling.SmallRows + 4;
        var sourceVectors = SharedMemory.Allocate<Float4>(Depth * SourcePitch / 4);
        var weightVectors = SharedMemory.Allocate<Float4>(Depth * Tile.Columns / 4);
        var pixels = SharedMemory.Allocate<int>(GpuGemmTiling.SmallRows);
        var source = sourceVectors.Cast<float>();
        var firstRow = Grid.IdxX % a.RowTiles * GpuGemmTiling.SmallRows;
        var firstPanel = Grid.IdxX / a.RowTiles;
        var (rowBlock, columnBlock) = (Group.IdxX / 8, Group.IdxX % 8);
        Float4x4 sums = default;
        for (var tap = 0; tap < a.Kernel * a.Kernel; tap++)
        {
            if (Group.IdxX < GpuGemmTiling.SmallRows)
            {
                pixels[Group.IdxX] = a.SourcePixel(firstRow + Group.IdxX, tap / a.Kernel, tap % a.Kernel);
            }

            for (var channel = 0; channel < a.Channels; channel += Depth)
            {
                var count = IntrinsicMath.Min(Depth, a.Channels - channel);
                Group.Barrier();
                GpuGemmTile<T, TFormat>.Load(
                    a, pixels, GpuGemmTiling.SmallRows, GpuGemmTiling.SmallPanels, firstPanel, tap, channel, source, SourcePitch, weightVectors);
                Group.Barrier();
                for (var k = 0; k < count; k += Unrolled)
                {
                    var from = (k * (SourcePitch / 4)) + rowBlock;
                    var by = (k * (Tile.Columns / 4)) + columnBlock;
                    sums = Float4x4.MultiplyAdd(sums, sourceVectors[from], weightVectors[by]);
                    sums = Float4x4.MultiplyAdd(sums, sourceVectors[from + (SourcePitch / 4)], weightVectors[by + (Tile.Columns / 4)]);
                    sums = Float4x4.MultiplyAdd(sums, sourceVectors[from + (SourcePitch / 2)], weightVectors[by + (Tile.Columns / 2)]);
                    sums = Float4x4.MultiplyAdd(sums, sourceVectors[from + (SourcePitch / 4 * 3)], weightVectors[by + (Tile.Columns / 4 * 3)]);
                }
            }
        }

        for (var row = 0; row < 4; row++)
        {
            var values = row switch
            {
                0 => sums.Row0,
                1 => sums.Row1,
                2 => sums.Row2,
                _ => sums.Row3,
            };
            Group.Barrier();
            sourceVectors[(rowBlock * (Tile.Columns / 4)) + columnBlock] = values;
            Group.Barrier();
            GpuGemmTile<T, TFormat>.Store(a, sourceVectors, 8, Tile.Columns, firstRow + row, 4, firstPanel, GpuGemmTiling.WorkItems);
        }
    }

    /// <summary>4 rows by 4 panels; a work-item has two columns of one panel, and reads their weights itself: no other needs them.</summary>
    public static void RunFew(GemmArguments<T> a)
    {
        const int Columns = GpuGemmTiling.FewPanels * Tile.Columns;
        var sourceVectors = SharedMemory.Allocate<Float4>(GpuGemmTiling.FewRows * Columns / 4);
        var pixels = SharedMemory.Allocate<int>(GpuGemmTiling.FewRows);
        var source = sourceVectors.Cast<float>();
        var firstRow = Grid.IdxX % a.RowTiles * GpuGemmTiling.FewRows;
        var firstPanel = Grid.IdxX / a.RowTiles * GpuGemmTiling.FewPanels;
        var (panel, column) = (Group.IdxX / 16, Group.IdxX % 16);
        var packed = ((long)IntrinsicMath.Min(firstPanel + panel, a.Panels - 1) * a.Depth * Tile.Columns) + column;
        Float4 left = default, right = default;
        for (var tap = 0; tap < a.Kernel * a.Kernel; tap++)
        {
            if (Group.IdxX < GpuGemmTiling.FewRows)
            {
                pixels[Group.IdxX] = a.SourcePixel(firstRow + Group.IdxX, tap / a.Kernel, tap % a.Kernel);
            }

            for (var channel = 0; channel < a.Channels; channel += GpuGemmTiling.WorkItems)
            {
                var count = IntrinsicMath.Min(GpuGemmTiling.WorkItems, a.Channels - channel);
                Group.Barrier();
                for (var row = 0; row < GpuGemmTiling.FewRows && Group.IdxX < count; row++)
                {
                    source[(Group.IdxX * GpuGemmTiling.FewRows) + row] = GpuGemmTile<T, TFormat>.LoadSource(a, pixels[row], channel + Group.IdxX, 1);
                }

                Group.Barrier();
                for (var k = 0; k < count; k++)
                {
                    var values = sourceVectors[k];
                    left = Float4.MultiplyAdd(left, default(TFormat).Load(a.Weights, packed), values);
                    right = Float4.MultiplyAdd(right, default(TFormat).Load(a.Weights, packed + 16), values);
                    packed += Tile.Columns;
                }
            }
        }

        Group.Barrier();
        var staged = (panel * Tile.Columns) + column;
        (source[staged], source[staged + 16]) = (left.X, right.X);
        (source[staged + Columns], source[staged + Columns + 16]) = (left.Y, right.Y);
        (source[staged + (2 * Columns)], source[staged + (2 * Columns) + 16]) = (left.Z, right.Z);
        (source[staged + (3 * Columns)], source[staged + (3 * Columns) + 16]) = (left.W, right.W);
        Group.Barrier();
        GpuGemmTile<T, TFormat>.Store(a, sourceVectors, GpuGemmTiling.FewRows, Columns, firstRow, 1, firstPanel, GpuGemmTiling.WorkItems);
    }

    private static Float8 LoadPair(ArrayView<Float4> weights, int index) =>
        new() { Low = weights[index], High = weights[index + (Tile.Columns / 4)] };
}
