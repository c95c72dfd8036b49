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
        Float8 sums0 = default, sums1 = default, sums2 = default, sums3 = default, sums4 = default, sums5 = default, sums6 = default, sums7 = default;
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
                for (var k = 0; k < count; k++)
                {
                    var upper = sourceVectors[(k * (SourcePitch / 4)) + (rowBlock * 2)];
                    var lower = sourceVectors[(k * (SourcePitch / 4)) + (rowBlock * 2) + 1];
                    var left = weightVectors[(k * (Columns / 4)) + columnBlock];
                    var right = weightVectors[(k * (Columns / 4)) + (Tile.Columns / 4) + columnBlock];
                    sums0 = Float8.MultiplyAdd(sums0, upper.X, left, right);
                    sums1 = Float8.MultiplyAdd(sums1, upper.Y, left, right);
                    sums2 = Float8.MultiplyAdd(sums2, upper.Z, left, right);
                    sums3 = Float8.MultiplyAdd(sums3, upper.W, left, right);
                    sums4 = Float8.MultiplyAdd(sums4, lower.X, left, right);
                    sums5 = Float8.MultiplyAdd(sums5, lower.Y, left, right);
                    sums6 = Float8.MultiplyAdd(sums6, lower.Z, left, right);
                    sums7 = Float8.MultiplyAdd(sums7, lower.W, left, right);
                }
            }
        }

        for (var row = 0; row < 8; row++)
        {
            var sums = row switch
            {
                0 => sums0,
                1 => sums1,
                2 => sums2,
                3 => sums3,
                4 => sums4,
                5 => sums5,
                6 => sums6,
                _ => sums7,
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
                for (var k = 0; k < count; k++)
                {
                    sums = Float4x4.MultiplyAdd(
                        sums, sourceVectors[(k * (SourcePitch / 4)) + rowBlock], weightVectors[(k * (Tile.Columns / 4)) + columnBlock]);
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

    /// <summary>Turned: value (row, k) of the tile goes to k * pitch + row. Sixteen neighbouring work-items read neighbouring channels.</summary>
    private static void LoadSource(GemmArguments<T> a, ArrayView<int> pixels, int rows, int channel, int count, ArrayView<float> target, int pitch)
    {
        var k = Group.IdxX % Depth;
        if (k < count)
        {
            // Four at once, so that the device waits for memory once.
            const int Step = GpuGemmTiling.WorkItems / Depth;
            for (var row = Group.IdxX / Depth; row < rows; row += 4 * Step)
            {
                var value0 = LoadSource(a, pixels[row], channel + k);
                var value1 = LoadSource(a, pixels[row + Step], channel + k);
                var value2 = LoadSource(a, pixels[row + (2 * Step)], channel + k);
                var value3 = LoadSource(a, pixels[row + (3 * Step)], channel + k);
                target[(k * pitch) + row] = value0;
                target[(k * pitch) + row + Step] = value1;
                target[(k * pitch) + row + (2 * Step)] = value2;
                target[(k * pitch) + row + (3 * Step)] = value3;
            }
        }
    }

    private static float LoadSource(GemmArguments<T> a, int pixel, int channel) =>
        pixel < 0 ? 0f : default(TFormat).Load(a.Arena, a.Source + ((long)pixel * a.SourcePitch) + channel);

    /// <summary>Depths k … k + count of some panels, [depth, panels * 32]; zeros where the last tile has fewer panels.</summary>
    private static void LoadWeights(GemmArguments<T> a, int firstPanel, int panels, int k, int count, ArrayView<float> target)
    {
        for (var panel = 0; panel < panels; panel++)
        {
            var packed = (((long)(firstPanel + panel) * a.Depth) + k) * Tile.Columns;
            for (var i = Group.IdxX; i < count * Tile.Columns; i += GpuGemmTiling.WorkItems)
            {
                var value = firstPanel + panel < a.Panels ? default(TFormat).Load(a.Weights, packed + i) : 0f;
                target[(i / Tile.Columns * panels * Tile.Columns) + (panel * Tile.Columns) + (i % Tile.Columns)] = value;
            }
        }
    }

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
