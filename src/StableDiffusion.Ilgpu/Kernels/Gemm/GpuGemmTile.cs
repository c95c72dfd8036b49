using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>
/// What <see cref="GpuGemmKernel{T, TFormat}"/> copies to shared memory before it multiplies, and how it finishes sums. Reads of memory stand one after the
/// other, without a branch in between: what is not there is read from where something is, and put to zero afterwards. Compilers then send all
/// reads on their way before they wait for the first.
/// </summary>
internal static class GpuGemmTile<T, TFormat>
    where T : unmanaged
    where TFormat : struct, IGpuFormat<T>
{
    /// <summary>Channels that are multiplied at a time.</summary>
    public const int Depth = 2 * Float8.Length;

    /// <summary>Of them, those that are multiplied without a look at the loop's end; zeros fill them up.</summary>
    public const int Unrolled = 4;

    /// <summary>
    /// Copies some channels of one tap. The source is turned so that a work-item reads its rows' values at once: value (row, k) of the tile goes to
    /// k * pitch + row. Zeros where a row has no pixel, and beyond the last channel up to a multiple of what is unrolled. Weights, [depth, panels * 32], are the
    /// last channel's again there, to be multiplied by zeros, and beyond the last panel that one's, whose sums are not stored.
    /// </summary>
    /// <param name="a">The contraction.</param>
    /// <param name="pixels">The source pixel of each of the tile's rows.</param>
    /// <param name="rows">How many rows a tile has.</param>
    /// <param name="panels">How many panels a tile has.</param>
    /// <param name="firstPanel">The tile's.</param>
    /// <param name="tap">Of the window.</param>
    /// <param name="channel">The first.</param>
    /// <param name="source">Target of the source.</param>
    /// <param name="pitch">From one channel to the next.</param>
    /// <param name="weights">Target of the weights.</param>
    public static void Load(
        GemmArguments<T> a, ArrayView<int> pixels, int rows, int panels, int firstPanel, int tap, int channel, ArrayView<float> source, int pitch,
        ArrayView<Float4> weights)
    {
        const int Chunks = Tile.Columns / Float8.Length;
        var count = IntrinsicMath.Min(Depth, a.Channels - channel);
        var (depth, column) = (Group.IdxX / Chunks, Group.IdxX % Chunks * Float8.Length);
        var packed = ((((long)firstPanel * a.Depth) + (tap * a.Channels) + channel + IntrinsicMath.Min(depth, count - 1)) * Tile.Columns) + column;
        var toNext = firstPanel + 1 < a.Panels ? (long)a.Depth * Tile.Columns : 0;
        var weights0 = default(TFormat).LoadChunk(a.Weights, packed);
        var weights1 = weights0;
        if (panels == GpuGemmTiling.LargePanels)
        {
            weights1 = default(TFormat).LoadChunk(a.Weights, packed + toNext);
        }

        if (a.IsSourceChunked)
        {
            // One work-item a row and, where there are fewer rows than work-items, half of the channels.
            var row = Group.IdxX % rows;
            var k = Group.IdxX / rows * Float8.Length;
            var source0 = LoadSourceChunk(a, pixels[row], channel, k);
            if (rows == GpuGemmTiling.WorkItems)
            {
                var source1 = LoadSourceChunk(a, pixels[row], channel, Float8.Length);
                Float8.StoreColumn(source1, source, (Float8.Length * pitch) + row, pitch);
            }

            Float8.StoreColumn(source0, source, (k * pitch) + row, pitch);
        }
        else
        {
            LoadSourceValues(a, pixels, rows, channel, count, source, pitch);
        }

        var at = ((depth * panels * Tile.Columns) + column) / 4;
        (weights[at], weights[at + 1]) = (weights0.Low, weights0.High);
        if (panels == GpuGemmTiling.LargePanels)
        {
            at += Tile.Columns / 4;
            (weights[at], weights[at + 1]) = (weights1.Low, weights1.High);
        }
    }

    /// <summary>One channel of a pixel; zero where the row has none, or the channel is not <paramref name="present"/>.</summary>
    public static float LoadSource(GemmArguments<T> a, int pixel, int channel, int present)
    {
        var value = default(TFormat).Load(a.Arena, a.Source + ((long)IntrinsicMath.Max(pixel, 0) * a.SourcePitch) + channel);
        return (pixel < 0 ? 0 : present) != 0 ? value : 0f;
    }

    /// <summary>Finishes some rows of sums, [rows, columns].</summary>
    /// <param name="a">The contraction.</param>
    /// <param name="sums">Its sums.</param>
    /// <param name="rows">How many rows there are.</param>
    /// <param name="columns">How many columns, of whole panels.</param>
    /// <param name="firstRow">The output's row that the first one is.</param>
    /// <param name="step">From it to the output's row that the next one is.</param>
    /// <param name="firstPanel">The first column's.</param>
    /// <param name="workItems">Of the group.</param>
    public static void Store(
        GemmArguments<T> a, ArrayView<Float4> sums, int rows, int columns, int firstRow, int step, int firstPanel, int workItems)
    {
        var chunks = columns / Float8.Length;
        for (var i = Group.IdxX; i < rows * chunks; i += workItems)
        {
            var row = firstRow + (i / chunks * step);
            var packed = i % chunks * Float8.Length;

            // With Geglu, a panel holds 16 columns of h, then their 16 of the gate.
            var stored = a.Epilogue.Geglu != 0 ? (packed / Tile.Columns * 16) + (packed % 16) : packed;
            var column = (firstPanel * a.PanelColumns) + stored;
            if (row < a.Rows && column < a.Columns && (a.Epilogue.Geglu == 0 || packed % Tile.Columns < 16))
            {
                var bias = (firstPanel * Tile.Columns) + packed;
                var values = Float8.Add(LoadSums(sums, i), default(FloatFormat).LoadChunk(a.Bias, bias));
                var gates = values;
                if (a.Epilogue.Geglu != 0)
                {
                    gates = Float8.Add(LoadSums(sums, i + 2), default(FloatFormat).LoadChunk(a.Bias, bias + 16));
                }

                StoreColumns(a, row, column, values, gates);
            }
        }
    }

    /// <summary>Finishes and stores up to eight neighbouring columns of a row.</summary>
    /// <param name="a">The contraction.</param>
    /// <param name="row">Output pixel.</param>
    /// <param name="column">The first stored column.</param>
    /// <param name="values">The sums, the biases added.</param>
    /// <param name="gates">With Geglu, those of their gates.</param>
    public static void StoreColumns(GemmArguments<T> a, int row, int column, Float8 values, Float8 gates)
    {
        var count = IntrinsicMath.Min(Float8.Length, a.Columns - column);
        Float8 itemBias = default, residual = default;
        if (a.Epilogue.HasItemBias != 0)
        {
            itemBias = LoadColumns(a, a.ItemBias + ((long)(row / a.OutputPixels) * a.ItemBiasPitch) + column, count);
        }

        if (a.Epilogue.HasResidual != 0)
        {
            residual = LoadColumns(a, a.Residual + ((long)row * a.ResidualPitch) + column, count);
        }

        values = GpuRows.Finish<T, TFormat>(a.Epilogue, values, gates, itemBias, residual);
        var target = a.Target + ((long)row * a.TargetPitch) + column;
        if (a.IsTargetChunked && count == Float8.Length)
        {
            default(TFormat).StoreChunk(a.Arena, target, values);
            return;
        }

        for (var i = 0; i < count; i++)
        {
            default(TFormat).Store(a.Arena, target + i, Float8.Get(values, i));
        }
    }

    private static Float8 LoadColumns(GemmArguments<T> a, long index, int count)
    {
        if (a.IsTargetChunked && count == Float8.Length)
        {
            return default(TFormat).LoadChunk(a.Arena, index);
        }

        var last = count - 1;
        return new Float8
        {
            Low = new Float4
            {
                X = default(TFormat).Load(a.Arena, index),
                Y = default(TFormat).Load(a.Arena, index + IntrinsicMath.Min(1, last)),
                Z = default(TFormat).Load(a.Arena, index + IntrinsicMath.Min(2, last)),
                W = default(TFormat).Load(a.Arena, index + IntrinsicMath.Min(3, last)),
            },
            High = new Float4
            {
                X = default(TFormat).Load(a.Arena, index + IntrinsicMath.Min(4, last)),
                Y = default(TFormat).Load(a.Arena, index + IntrinsicMath.Min(5, last)),
                Z = default(TFormat).Load(a.Arena, index + IntrinsicMath.Min(6, last)),
                W = default(TFormat).Load(a.Arena, index + last),
            },
        };
    }

    private static Float8 LoadSourceChunk(GemmArguments<T> a, int pixel, int channel, int k)
    {
        var index = a.Source + ((long)IntrinsicMath.Max(pixel, 0) * a.SourcePitch) + IntrinsicMath.Min(channel + k, a.Channels - Float8.Length);
        return default(TFormat).LoadChunk(a.Arena, index, ~(pixel >> 31));
    }

    /// <summary>Sixteen neighbouring work-items read neighbouring channels, and each four rows at once.</summary>
    private static void LoadSourceValues(GemmArguments<T> a, ArrayView<int> pixels, int rows, int channel, int count, ArrayView<float> target, int pitch)
    {
        const int Step = GpuGemmTiling.WorkItems / Depth;
        var k = Group.IdxX % Depth;
        var from = channel + IntrinsicMath.Min(k, count - 1);
        var present = k < count ? 1 : 0;
        for (var row = Group.IdxX / Depth; row < rows; row += 4 * Step)
        {
            var value0 = LoadSource(a, pixels[row], from, present);
            var value1 = LoadSource(a, pixels[row + Step], from, present);
            var value2 = LoadSource(a, pixels[row + (2 * Step)], from, present);
            var value3 = LoadSource(a, pixels[row + (3 * Step)], from, present);
            var at = (k * pitch) + row;
            target[at] = value0;
            target[at + Step] = value1;
            target[at + (2 * Step)] = value2;
            target[at + (3 * Step)] = value3;
        }
    }

    private static Float8 LoadSums(ArrayView<Float4> sums, int chunk) => new() { Low = sums[chunk * 2], High = sums[(chunk * 2) + 1] };
}
