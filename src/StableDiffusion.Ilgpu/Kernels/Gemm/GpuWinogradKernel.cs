using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>
/// 3x3 convolutions with 16 multiplications for a block of 2x2 output pixels instead of 36: Winograd's F(2x2, 3x3) (Lavin and Gray 2016, arXiv:1509.09308), for
/// devices whose groups have many work-items. One group computes 32 blocks by 32 columns. Of eight channels at a time every work-item transforms one
/// block's 4x4 source pixels and one column's 3x3 weights into shared memory; then the 16 values of the transformed blocks are multiplied by sixteen work-items
/// each, which hold 8 blocks by 8 columns of sums in registers. Sums are turned into pixels eight blocks at a time. Only additions come before and after
/// the products, and halves, so the error is a few units of fp32.
/// </summary>
internal static class GpuWinogradKernel<T, TFormat>
    where T : unmanaged
    where TFormat : struct, IGpuFormat<T>
{
    private const int WorkItems = 256;

    /// <summary>Source pixels of a block, each way.</summary>
    private const int Side = 4;

    /// <summary>Output pixels of a block, each way.</summary>
    private const int Pixels = 2;

    /// <summary>Products of a block, channel and column.</summary>
    private const int Values = Side * Side;

    /// <summary>Blocks of a tile.</summary>
    private const int Blocks = 32;

    /// <summary>Channels that are transformed and multiplied at a time.</summary>
    private const int Depth = 8;

    /// <summary>Blocks that are turned into pixels at a time.</summary>
    private const int PassBlocks = 8;

    /// <summary>One group for each tile.</summary>
    public static KernelConfig Shape(GemmArguments<T> a) => new(BlockTiles(a) * a.Panels, WorkItems);

    /// <summary>A convolution that <see cref="WinogradTiling.Fits"/>.</summary>
    public static void Run(GemmArguments<T> a)
    {
        // Both as [value, channel, block or column], in an order that lets neither writes nor reads meet on a bank.
        var source = SharedMemory.Allocate<Float4>(Values * Depth * Blocks / 4);
        var weights = SharedMemory.Allocate<Float4>(Values * Depth * Tile.Columns / 4);
        var firstBlock = Grid.IdxX % BlockTiles(a) * Blocks;
        var panel = Grid.IdxX / BlockTiles(a);
        var value = Group.IdxX / Values;
        var (blockRow, column) = (Group.IdxX % Values / 4, Group.IdxX % 4);
        Float4x8 upper = default, lower = default;

        // The block and the channel that this work-item transforms.
        var (block, k) = (Group.IdxX / Depth, Group.IdxX % Depth);
        var at = IntrinsicMath.Min(firstBlock + block, AllBlocks(a) - 1);
        var item = at / BlocksPerItem(a);
        var y = ((at % BlocksPerItem(a) / BlockColumns(a)) * Pixels) - 1;
        var x = ((at % BlockColumns(a)) * Pixels) - 1;
        var from = a.Source + ((long)item * a.SourceHeight * a.SourceWidth * a.SourcePitch) + k;
        var (row0, row1, row2, row3) = (Row(a, from, y), Row(a, from, y + 1), Row(a, from, y + 2), Row(a, from, y + 3));
        var columns = new Columns(a, x);
        var inside0 = IsInside(y, a.Height);
        var inside3 = IsInside(y + 3, a.Height);
        var inside2 = IsInside(y + 2, a.Height);
        for (var channel = 0; channel < a.Channels; channel += Depth)
        {
            var pixels = new Float4x4
            {
                Row0 = columns.Load(a, row0 + channel, inside0),
                Row1 = columns.Load(a, row1 + channel, 1),
                Row2 = columns.Load(a, row2 + channel, inside2),
                Row3 = columns.Load(a, row3 + channel, inside3),
            };
            var taps = LoadTaps(a, panel, channel);
            Group.Barrier();
            StoreSource(source.Cast<float>(), k, block, pixels);
            StoreWeights(weights.Cast<float>(), taps);
            Group.Barrier();
            for (var i = 0; i < Depth; i += 2)
            {
                (upper, lower) = Multiply(upper, lower, source, weights, value, i, blockRow, column);
                (upper, lower) = Multiply(upper, lower, source, weights, value, i + 1, blockRow, column);
            }
        }

        Group.Barrier();
        for (var pass = 0; pass < Blocks / PassBlocks; pass++)
        {
            var rows = (value * PassBlocks) + (blockRow * 2);
            var half = upper;
            if (pass >= 2)
            {
                half = lower;
            }

            var (first, second) = (half.Row0, half.Row1);
            if (pass % 2 != 0)
            {
                (first, second) = (half.Row2, half.Row3);
            }

            StoreSums(source, rows, column, first);
            StoreSums(source, rows + 1, column, second);
            Group.Barrier();
            ToPixels(source.Cast<float>(), weights.Cast<float>());
            Group.Barrier();
            Store(a, weights, firstBlock, pass, panel);
        }
    }

    private static int BlockColumns(GemmArguments<T> a) => (a.Width + Pixels - 1) / Pixels;

    private static int BlocksPerItem(GemmArguments<T> a) => (a.Height + Pixels - 1) / Pixels * BlockColumns(a);

    private static int AllBlocks(GemmArguments<T> a) => a.Rows / a.OutputPixels * BlocksPerItem(a);

    private static int BlockTiles(GemmArguments<T> a) => (AllBlocks(a) + Blocks - 1) / Blocks;

    /// <summary>Where a row of source pixels begins; beyond the edges the row at the edge.</summary>
    private static long Row(GemmArguments<T> a, long from, int y) =>
        from + ((long)(IntrinsicMath.Clamp(y, 0, a.Height - 1) * a.SourceHeight / a.Height) * a.SourceWidth * a.SourcePitch);

    private static int IsInside(int position, int size) => position >= 0 && position < size ? 1 : 0;

    /// <summary>The 3x3 weights of one channel and one column, a row of three in each of the first three.</summary>
    private static Float4x4 LoadTaps(GemmArguments<T> a, int panel, int channel)
    {
        var at = ((((long)panel * a.Depth) + channel + (Group.IdxX / Tile.Columns)) * Tile.Columns) + (Group.IdxX % Tile.Columns);
        var step = a.Channels * Tile.Columns;
        return new Float4x4
        {
            Row0 = LoadTaps(a, at, step),
            Row1 = LoadTaps(a, at + (3L * step), step),
            Row2 = LoadTaps(a, at + (6L * step), step),
        };
    }

    private static Float4 LoadTaps(GemmArguments<T> a, long at, int step) => new()
    {
        X = default(TFormat).Load(a.Weights, at),
        Y = default(TFormat).Load(a.Weights, at + step),
        Z = default(TFormat).Load(a.Weights, at + (2L * step)),
    };

    /// <summary>B^T d B.</summary>
    private static void StoreSource(ArrayView<float> target, int k, int block, Float4x4 d)
    {
        StoreSourceRow(target, 0, k, block, Float4.Subtract(d.Row0, d.Row2));
        StoreSourceRow(target, 1, k, block, Float4.Add(d.Row1, d.Row2));
        StoreSourceRow(target, 2, k, block, Float4.Subtract(d.Row2, d.Row1));
        StoreSourceRow(target, 3, k, block, Float4.Subtract(d.Row1, d.Row3));
    }

    private static void StoreSourceRow(ArrayView<float> target, int row, int k, int block, Float4 t)
    {
        target[SourceAt(row * Side, k, block)] = t.X - t.Z;
        target[SourceAt((row * Side) + 1, k, block)] = t.Y + t.Z;
        target[SourceAt((row * Side) + 2, k, block)] = t.Z - t.Y;
        target[SourceAt((row * Side) + 3, k, block)] = t.Y - t.W;
    }

    /// <summary>G g G^T.</summary>
    private static void StoreWeights(ArrayView<float> target, Float4x4 g)
    {
        var outer = Float4.Multiply(Float4.Add(g.Row0, g.Row2), 0.5f);
        var inner = Float4.Multiply(g.Row1, 0.5f);
        StoreWeightRow(target, 0, g.Row0);
        StoreWeightRow(target, 1, Float4.Add(outer, inner));
        StoreWeightRow(target, 2, Float4.Subtract(outer, inner));
        StoreWeightRow(target, 3, g.Row2);
    }

    private static void StoreWeightRow(ArrayView<float> target, int row, Float4 g)
    {
        var (outer, inner) = (0.5f * (g.X + g.Z), 0.5f * g.Y);
        target[WeightAt(row * Side)] = g.X;
        target[WeightAt((row * Side) + 1)] = outer + inner;
        target[WeightAt((row * Side) + 2)] = outer - inner;
        target[WeightAt((row * Side) + 3)] = g.Z;
    }

    /// <summary>Fours of blocks are exchanged by channel, and with the next value's: so eight channels that are written together lie on all banks.</summary>
    private static int SourceAt(int value, int k, int block) => (((value * Depth) + k) * Blocks) + (block ^ (4 * (k ^ (value & 1))));

    /// <summary>Halves of a panel are exchanged for every other value.</summary>
    private static int WeightAt(int value) =>
        (((value * Depth) + (Group.IdxX / Tile.Columns)) * Tile.Columns) + ((Group.IdxX % Tile.Columns) ^ (16 * (value & 1)));

    private static (Float4x8 Upper, Float4x8 Lower) Multiply(
        Float4x8 upper, Float4x8 lower, ArrayView<Float4> source, ArrayView<Float4> weights, int value, int k, int blockRow, int column)
    {
        var line = (value * Depth) + k;
        var swap = value & 1;
        var first = (2 * blockRow) ^ k ^ swap;
        var by = column ^ (4 * swap);
        var factors = new Float8 { Low = weights[(line * (Tile.Columns / 4)) + by], High = weights[(line * (Tile.Columns / 4)) + (by ^ 4)] };
        upper = Float4x8.MultiplyAdd(upper, source[(line * (Blocks / 4)) + first], factors);
        lower = Float4x8.MultiplyAdd(lower, source[(line * (Blocks / 4)) + (first ^ 1)], factors);
        return (upper, lower);
    }

    /// <summary>[value, block of the pass, column].</summary>
    private static void StoreSums(ArrayView<Float4> target, int row, int column, Float8 sums)
    {
        target[(row * (Tile.Columns / 4)) + column] = sums.Low;
        target[(row * (Tile.Columns / 4)) + column + 4] = sums.High;
    }

    /// <summary>A^T m A for one block and column: [block of the pass, pixel, column].</summary>
    private static void ToPixels(ArrayView<float> sums, ArrayView<float> target)
    {
        var (row0, row1, row2, row3) = (LoadValues(sums, 0), LoadValues(sums, 1), LoadValues(sums, 2), LoadValues(sums, 3));
        var upper = Float4.Add(Float4.Add(row0, row1), row2);
        var lower = Float4.Subtract(Float4.Subtract(row1, row2), row3);
        var at = (Group.IdxX / Tile.Columns * Pixels * Pixels * Tile.Columns) + (Group.IdxX % Tile.Columns);
        target[at] = upper.X + upper.Y + upper.Z;
        target[at + Tile.Columns] = upper.Y - upper.Z - upper.W;
        target[at + (2 * Tile.Columns)] = lower.X + lower.Y + lower.Z;
        target[at + (3 * Tile.Columns)] = lower.Y - lower.Z - lower.W;
    }

    private static Float4 LoadValues(ArrayView<float> sums, int row)
    {
        const int Distance = PassBlocks * Tile.Columns;
        var at = (row * Side * Distance) + Group.IdxX;
        return new Float4 { X = sums[at], Y = sums[at + Distance], Z = sums[at + (2 * Distance)], W = sums[at + (3 * Distance)] };
    }

    private static void Store(GemmArguments<T> a, ArrayView<Float4> pixels, int firstBlock, int pass, int panel)
    {
        const int Chunks = Tile.Columns / Float8.Length;
        var (row, chunk) = (Group.IdxX / Chunks, Group.IdxX % Chunks);
        var (ofPass, pixel) = (row / (Pixels * Pixels), row % (Pixels * Pixels));
        var block = firstBlock + (ofPass / 2 * 8) + (pass * 2) + (ofPass % 2);
        var ofItem = block % BlocksPerItem(a);
        var y = (ofItem / BlockColumns(a) * Pixels) + (pixel / Pixels);
        var x = (ofItem % BlockColumns(a) * Pixels) + (pixel % Pixels);
        var column = (panel * Tile.Columns) + (chunk * Float8.Length);
        if (row < PassBlocks * Pixels * Pixels && block < AllBlocks(a) && y < a.Height && x < a.Width && column < a.Columns)
        {
            var sums = new Float8 { Low = pixels[Group.IdxX * 2], High = pixels[(Group.IdxX * 2) + 1] };
            var values = Float8.Add(sums, default(FloatFormat).LoadChunk(a.Bias, column));
            GpuGemmTile<T, TFormat>.StoreColumns(a, (block / BlocksPerItem(a) * a.OutputPixels) + (y * a.Width) + x, column, values, values);
        }
    }

    /// <summary>The four source pixels of a block in a row: where they lie from its beginning, and whether the outer ones are there.</summary>
    private readonly struct Columns
    {
        private readonly int at0;
        private readonly int at1;
        private readonly int at2;
        private readonly int at3;
        private readonly int inside0;
        private readonly int inside2;
        private readonly int inside3;

        public Columns(GemmArguments<T> a, int x)
        {
            (at0, at1, at2, at3) = (At(a, x), At(a, x + 1), At(a, x + 2), At(a, x + 3));
            (inside0, inside2, inside3) = (IsInside(x, a.Width), IsInside(x + 2, a.Width), IsInside(x + 3, a.Width));
        }

        /// <param name="a">The convolution.</param>
        /// <param name="row">The row's first pixel, one channel.</param>
        /// <param name="inside">Whether the row is there.</param>
        public Float4 Load(GemmArguments<T> a, long row, int inside)
        {
            var x = default(TFormat).Load(a.Arena, row + at0);
            var y = default(TFormat).Load(a.Arena, row + at1);
            var z = default(TFormat).Load(a.Arena, row + at2);
            var w = default(TFormat).Load(a.Arena, row + at3);
            return new Float4
            {
                X = (inside & inside0) != 0 ? x : 0f,
                Y = inside != 0 ? y : 0f,
                Z = (inside & inside2) != 0 ? z : 0f,
                W = (inside & inside3) != 0 ? w : 0f,
            };
        }

        private static int At(GemmArguments<T> a, int x) => IntrinsicMath.Clamp(x, 0, a.Width - 1) * a.SourceWidth / a.Width * a.SourcePitch;
    }
}
