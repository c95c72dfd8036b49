using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>
/// The main loops for devices whose groups have many work-items: one group computes one tile. For each tap of the window the group notes which
/// source pixel each row sees; for each part of that tap's channels it copies source and weights to shared memory as fp32, the source turned
/// so that a work-item reads its rows' values at once, and each work-item multiplies for its own block of sums, in registers.
/// </summary>
internal static class GpuGemmKernel<T, TFormat>
    where T : unmanaged
    where TFormat : struct, IFormat<T>
{
    /// <summary>Channels that are multiplied at a time.</summary>
    private const int Depth = 16;

    /// <summary>Of them, those that are multiplied without a look at the loop's end; zeros fill them up.</summary>
    private const int Unrolled = 4;

    /// <summary>64 rows by 64 columns, 8 by 8 for each work-item: 8 neighbouring rows, and 4 columns of each of two panels.</summary>
    public static void RunLarge(GemmArguments<T> a)
    {
        const int SourcePitch = GpuGemmTiling.LargeRows + 4;
        const int Columns = GpuGemmTiling.LargePanels * Tile.Columns;
        var sourceVectors = SharedMemory.Allocate<Float4>(Depth * SourcePitch / 4);
        var weightVectors = SharedMemory.Allocate<Float4>(Depth * Columns / 4);
        var pixels = SharedMemory.Allocate<int>(GpuGemmTiling.LargeRows);
        var source = sourceVectors.Cast<float>();
        var weights = weightVectors.Cast<float>();
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
                LoadSource(a, pixels, GpuGemmTiling.LargeRows, channel, count, source, SourcePitch);
                LoadWeights(a, firstPanel, GpuGemmTiling.LargePanels, (tap * a.Channels) + channel, count, weights);
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
            Store(a, source, 8, Columns, firstRow + row, 8, firstPanel);
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
        var weights = weightVectors.Cast<float>();
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
                LoadSource(a, pixels, GpuGemmTiling.SmallRows, channel, count, source, SourcePitch);
                LoadWeights(a, firstPanel, GpuGemmTiling.SmallPanels, (tap * a.Channels) + channel, count, weights);
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
            Store(a, source, 8, Tile.Columns, firstRow + row, 4, firstPanel);
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
                    source[(Group.IdxX * GpuGemmTiling.FewRows) + row] = LoadSource(a, pixels[row], channel + Group.IdxX);
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
        Store(a, source, GpuGemmTiling.FewRows, Columns, firstRow, 1, firstPanel);
    }

    private static Float8 LoadPair(ArrayView<Float4> weights, int index) =>
        new() { Low = weights[index], High = weights[index + (Tile.Columns / 4)] };

    /// <summary>
    /// Turned: value (row, k) of the tile goes to k * pitch + row. Sixteen neighbouring work-items read neighbouring channels, and each four rows at
    /// once, so that it waits for memory once.
    /// </summary>
    private static void LoadSource(GemmArguments<T> a, ArrayView<int> pixels, int rows, int channel, int count, ArrayView<float> target, int pitch)
    {
        const int Step = GpuGemmTiling.WorkItems / Depth;
        var k = Group.IdxX % Depth;
        if (k < Tile.RoundUp(count, Unrolled))
        {
            for (var row = Group.IdxX / Depth; row < rows; row += 4 * Step)
            {
                var value0 = k < count ? LoadSource(a, pixels[row], channel + k) : 0f;
                var value1 = k < count ? LoadSource(a, pixels[row + Step], channel + k) : 0f;
                var value2 = k < count ? LoadSource(a, pixels[row + (2 * Step)], channel + k) : 0f;
                var value3 = k < count ? LoadSource(a, pixels[row + (3 * Step)], channel + k) : 0f;
                var at = (k * pitch) + row;
                target[at] = value0;
                target[at + Step] = value1;
                target[at + (2 * Step)] = value2;
                target[at + (3 * Step)] = value3;
            }
        }
    }

    private static float LoadSource(GemmArguments<T> a, int pixel, int channel) =>
        pixel < 0 ? 0f : default(TFormat).Load(a.Arena, a.Source + ((long)pixel * a.SourcePitch) + channel);

    /// <summary>
    /// Depths k … k + count of some panels, [depth, panels * 32]; zeros where the last tile has fewer panels, and up to a multiple of what is unrolled: a
    /// NaN left there by another kernel would outlive the source's zeros.
    /// </summary>
    private static void LoadWeights(GemmArguments<T> a, int firstPanel, int panels, int k, int count, ArrayView<float> target)
    {
        const int Step = GpuGemmTiling.WorkItems / Tile.Columns;
        var (first, column) = (Group.IdxX / Tile.Columns, Group.IdxX % Tile.Columns);
        for (var panel = 0; panel < panels; panel++)
        {
            var depth = firstPanel + panel < a.Panels ? count : 0;
            var packed = ((((long)(firstPanel + panel) * a.Depth) + k) * Tile.Columns) + column;
            for (var row = first; row < Tile.RoundUp(count, Unrolled); row += 4 * Step)
            {
                var value0 = LoadWeight(a, packed, row, depth);
                var value1 = LoadWeight(a, packed, row + Step, depth);
                var value2 = LoadWeight(a, packed, row + (2 * Step), depth);
                var value3 = LoadWeight(a, packed, row + (3 * Step), depth);
                var at = (((row * panels) + panel) * Tile.Columns) + column;
                target[at] = value0;
                target[at + (Step * panels * Tile.Columns)] = value1;
                target[at + (2 * Step * panels * Tile.Columns)] = value2;
                target[at + (3 * Step * panels * Tile.Columns)] = value3;
            }
        }
    }

    private static float LoadWeight(GemmArguments<T> a, long packed, int row, int depth) =>
        row < depth ? default(TFormat).Load(a.Weights, packed + (row * Tile.Columns)) : 0f;

    /// <summary>Finishes some rows of sums: firstRow, firstRow + step and so on.</summary>
    private static void Store(GemmArguments<T> a, ArrayView<float> sums, int rows, int columns, int firstRow, int step, int firstPanel)
    {
        for (var i = Group.IdxX; i < rows * columns; i += GpuGemmTiling.WorkItems)
        {
            var row = firstRow + (i / columns * step);
            var packed = i % columns;

            // With Geglu, a panel holds 16 columns of h, then their 16 of the gate.
            var stored = a.Epilogue.Geglu != 0 ? (packed / Tile.Columns * 16) + (packed % 16) : packed;
            var column = (firstPanel * a.PanelColumns) + stored;
            if (row < a.Rows && column < a.Columns && (a.Epilogue.Geglu == 0 || packed % Tile.Columns < 16))
            {
                var bias = (firstPanel * Tile.Columns) + packed;
                var gate = a.Epilogue.Geglu != 0 ? sums[i + 16] + a.Bias[bias + 16] : 0f;
                var value = PortableRows<T, TFormat>.FinishValue(
                    a.Epilogue, sums[i] + a.Bias[bias], gate,
                    a.Arena, a.ItemBias + ((long)(row / a.OutputPixels) * a.ItemBiasPitch) + column,
                    a.Arena, a.Residual + ((long)row * a.ResidualPitch) + column);
                default(TFormat).Store(a.Arena, a.Target + ((long)row * a.TargetPitch) + column, value);
            }
        }
    }
}
