using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>
/// 3x3 convolutions with 16 multiplications for a block of 2x2 output pixels instead of 36: Winograd's F(2x2, 3x3) (Lavin and Gray 2016, arXiv:1509.09308), for
/// devices whose groups have many work-items. One group computes 32 blocks by 32 columns. Of eight channels at a time half of the work-items transform two channels
/// of a block's 4x4 source pixels each, and the others two columns' 3x3 weights, into shared memory; then the 16 values of the transformed blocks are
/// multiplied by sixteen work-items each, which hold 8 blocks by 8 columns of sums in registers. Sums are turned into pixels eight blocks at a time. Only
/// additions come before and after the products, and halves, so the error is a few units of fp32.
/// </summary>
internal static class GpuWinogradKernel<T, TFormat>
    where T : unmanaged
    where TFormat : struct, IGpuFormat<T>
{
    private const int WorkItems = 256;

    /// <summary>Source pixels of a block, each way.</summary>
    private const int Side = 4;

    /// <summary>Output pixels of a block, each way.</summary>
    private const int Pixels = GpuWinogradPixels<T, TFormat>.Pixels;

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

    public static bool Fits(in GemmArguments<T> a) => WinogradTiling.Fits(a) && a.IsSourceChunked && GpuWinogradPixels<T, TFormat>.Fits(a);

    /// <summary>A convolution that <see cref="Fits"/>.</summary>
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

        // Which pair of channels or columns a work-item transforms. One of the second half reads no pixels, and looks at some block all the same.
        var transformsSource = Group.IdxX < WorkItems / 2;
        var (block, channels) = (Group.IdxX % (WorkItems / 2) / (Depth / 2), Group.IdxX % (Depth / 2) * 2);
        var (k, columns) = (Group.IdxX % (WorkItems / 2) / (Tile.Columns / 2), Group.IdxX % (Tile.Columns / 2) * 2);
        var pixels = new GpuWinogradPixels<T, TFormat>(a, IntrinsicMath.Min(firstBlock + block, AllBlocks(a) - 1), channels);
        var taps = ((((long)panel * a.Depth) + k) * Tile.Columns) + columns;
        for (var channel = 0; channel < a.Channels; channel += Depth)
        {
            var read = transformsSource ? pixels.Read(a, channel) : ReadTaps(a, taps + ((long)channel * Tile.Columns));
            Group.Barrier();
            var (row0, row1, row2, row3) = (Widen(read.Row0), Widen(read.Row1), Widen(read.Row2), Widen(read.Row3));
            if (transformsSource)
            {
                StoreSource(source.Cast<float>(), channels, block, row0.Low, row1.Low, row2.Low, row3.Low);
                StoreSource(source.Cast<float>(), channels + 1, block, row0.High, row1.High, row2.High, row3.High);
            }
            else
            {
                StoreWeights(weights.Cast<float>(), k, columns, row0.Low, row1.Low, row2.Low);
                StoreWeights(weights.Cast<float>(), k, columns + 1, row0.High, row1.High, row2.High);
            }

            Group.Barrier();
            for (var i = 0; i < Depth; i += 2)
            {
                (upper, lower) = Multiply(upper, lower, source, weights, value, i, 0, blockRow, column);
                (upper, lower) = Multiply(upper, lower, source, weights, value, i, 1, blockRow, column);
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

    private static int AllBlocks(GemmArguments<T> a) => GpuWinogradPixels<T, TFormat>.Blocks(a);

    private static int BlockTiles(GemmArguments<T> a) => (AllBlocks(a) + Blocks - 1) / Blocks;

    private static Float8 Widen(Float8 row) => GpuWinogradPixels<T, TFormat>.Widen(row);

    /// <summary>The 3x3 weights of one channel and of two columns, a row of three in each of the first three, as <see cref="GpuWinogradPixels{T, TFormat}.Read"/> does.</summary>
    private static Float4x8 ReadTaps(GemmArguments<T> a, long at)
    {
        var step = (long)a.Channels * Tile.Columns;
        return new Float4x8 { Row0 = ReadTapRow(a, at, step), Row1 = ReadTapRow(a, at + (3 * step), step), Row2 = ReadTapRow(a, at + (6 * step), step) };
    }

    private static Float8 ReadTapRow(GemmArguments<T> a, long at, long step) => GpuWinogradPixels<T, TFormat>.Join(
        default(TFormat).ReadPair(a.Weights, at, -1), default(TFormat).ReadPair(a.Weights, at + step, -1),
        default(TFormat).ReadPair(a.Weights, at + (2 * step), -1), default);

    /// <summary>B^T d B.</summary>
    private static void StoreSource(ArrayView<float> target, int k, int block, Float4 d0, Float4 d1, Float4 d2, Float4 d3)
    {
        StoreSourceRow(target, 0, k, block, Float4.Subtract(d0, d2));
        StoreSourceRow(target, 1, k, block, Float4.Add(d1, d2));
        StoreSourceRow(target, 2, k, block, Float4.Subtract(d2, d1));
        StoreSourceRow(target, 3, k, block, Float4.Subtract(d1, d3));
    }

    private static void StoreSourceRow(ArrayView<float> target, int row, int k, int block, Float4 t)
    {
        target[SourceAt(row * Side, k, block)] = t.X - t.Z;
        target[SourceAt((row * Side) + 1, k, block)] = t.Y + t.Z;
        target[SourceAt((row * Side) + 2, k, block)] = t.Z - t.Y;
        target[SourceAt((row * Side) + 3, k, block)] = t.Y - t.W;
    }

    /// <summary>G g G^T.</summary>
    private static void StoreWeights(ArrayView<float> target, int k, int column, Float4 g0, Float4 g1, Float4 g2)
    {
        var outer = Float4.Multiply(Float4.Add(g0, g2), 0.5f);
        var inner = Float4.Multiply(g1, 0.5f);
        StoreWeightRow(target, 0, k, column, g0);
        StoreWeightRow(target, 1, k, column, Float4.Add(outer, inner));
        StoreWeightRow(target, 2, k, column, Float4.Subtract(outer, inner));
        StoreWeightRow(target, 3, k, column, g2);
    }

    private static void StoreWeightRow(ArrayView<float> target, int row, int k, int column, Float4 g)
    {
        var (outer, inner) = (0.5f * (g.X + g.Z), 0.5f * g.Y);
        target[WeightAt(row * Side, k, column)] = g.X;
        target[WeightAt((row * Side) + 1, k, column)] = outer + inner;
        target[WeightAt((row * Side) + 2, k, column)] = outer - inner;
        target[WeightAt((row * Side) + 3, k, column)] = g.Z;
    }

    /// <summary>Fours of blocks are exchanged by channel, and with the next value's: so channels that are written together lie on different banks.</summary>
    private static int SourceAt(int value, int k, int block) => (((value * Depth) + k) * Blocks) + (block ^ (4 * (k ^ (value & 1))));

    /// <summary>Halves of a panel are exchanged for every other value, and neighbours for every other channel.</summary>
    private static int WeightAt(int value, int k, int column) => (((value * Depth) + k) * Tile.Columns) + (column ^ (16 * (value & 1)) ^ (k & 1));

    /// <param name="upper">Sums of four blocks.</param>
    /// <param name="lower">Sums of the next four.</param>
    /// <param name="source">The transformed source.</param>
    /// <param name="weights">The transformed weights.</param>
    /// <param name="value">Of the 16.</param>
    /// <param name="pair">The first channel of two; even.</param>
    /// <param name="second">1 for the second of the two, else 0; a constant.</param>
    /// <param name="blockRow">Which eight blocks.</param>
    /// <param name="column">Which four columns of each half.</param>
    private static (Float4x8 Upper, Float4x8 Lower) Multiply(
        Float4x8 upper, Float4x8 lower, ArrayView<Float4> source, ArrayView<Float4> weights, int value, int pair, int second, int blockRow, int column)
    {
        var k = pair + second;
        var line = (value * Depth) + k;
        var swap = value & 1;
        var first = (2 * blockRow) ^ k ^ swap;
        var by = column ^ (4 * swap);
        var factors = new Float8 { Low = weights[(line * (Tile.Columns / 4)) + by], High = weights[(line * (Tile.Columns / 4)) + (by ^ 4)] };
        if (second != 0)
        {
            factors = new Float8 { Low = ExchangeNeighbours(factors.Low), High = ExchangeNeighbours(factors.High) };
        }

        upper = Float4x8.MultiplyAdd(upper, source[(line * (Blocks / 4)) + first], factors);
        lower = Float4x8.MultiplyAdd(lower, source[(line * (Blocks / 4)) + (first ^ 1)], factors);
        return (upper, lower);
    }

    private static Float4 ExchangeNeighbours(Float4 values) => new() { X = values.Y, Y = values.X, Z = values.W, W = values.Z };

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
        var column = (panel * Tile.Columns) + (chunk * Float8.Length);
        var output = GpuWinogradPixels<T, TFormat>.OutputRow(a, block, pixel);
        if (row < PassBlocks * Pixels * Pixels && output >= 0 && column < a.Columns)
        {
            var sums = new Float8 { Low = pixels[Group.IdxX * 2], High = pixels[(Group.IdxX * 2) + 1] };
            var values = Float8.Add(sums, default(FloatFormat).LoadChunk(a.Bias, column));
            GpuGemmTile<T, TFormat>.StoreColumns(a, output, column, values, values);
        }
    }
}
