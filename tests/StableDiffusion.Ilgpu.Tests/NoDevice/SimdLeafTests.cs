using StableDiffusion.Ilgpu.Kernels.Gemm;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.Simd;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>
/// The SIMD leaves by themselves at every width: .NET computes what the machine has no registers for in software, so that the wide ones are tested
/// everywhere. Limits are those of the sums' order: a rounding of 2^-24 for each operation, of the sum of the absolute values.
/// </summary>
public sealed class SimdLeafTests
{
    private const double Rounding = 1.0 / (1 << 24);

    /// <summary>Winograd's matrices for F(4x4, 3x3), from Lavin and Gray 2016, section 4.3.</summary>
    private static readonly double[][] SourceMatrix =
        [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]];

    private static readonly double[][] FilterMatrix =
        [[1 / 4.0, 0, 0], [-1 / 6.0, -1 / 6.0, -1 / 6.0], [-1 / 6.0, 1 / 6.0, -1 / 6.0], [1 / 24.0, 1 / 12.0, 1 / 6.0], [1 / 24.0, -1 / 12.0, 1 / 6.0], [0, 0, 1]];

    private static readonly double[][] SumMatrix = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]];

    private readonly Random random = new(1);

    public static TheoryData<int> Widths => [128, 256, 512];

    [Theory, MemberData(nameof(Widths))]
    public void Products_of_any_rows_and_depth(int width)
    {
        switch (width)
        {
            case 512:
                Products<Simd512>();
                break;
            case 256:
                Products<Simd256>();
                break;
            default:
                Products<Simd128>();
                break;
        }
    }

    [Theory, MemberData(nameof(Widths))]
    public void Softmax_over_blocks_whose_maxima_rise_and_stay(int width)
    {
        var (weights, expected) = width switch
        {
            512 => Softmax<Simd512>(),
            256 => Softmax<Simd256>(),
            _ => Softmax<Simd128>(),
        };
        var error = weights.Zip(expected, (a, b) => Math.Abs(a - b) / b).Max();
        ReferenceData.Report($"softmax, {width} bits", error, 64 * Rounding);
    }

    [Theory, MemberData(nameof(Widths))]
    public void Winograds_transforms(int width)
    {
        switch (width)
        {
            case 512:
                Transforms<Simd512>();
                break;
            case 256:
                Transforms<Simd256>();
                break;
            default:
                Transforms<Simd128>();
                break;
        }
    }

    /// <summary>What NEON multiplies with, in software where there is none.</summary>
    [Theory]
    [InlineData(1), InlineData(3), InlineData(4), InlineData(7), InlineData(36)]
    public void Products_by_lanes(int depth)
    {
        foreach (var accumulate in new[] { true, false })
        {
            LaneProduct<RowByRow>(depth, Tile.Columns, 0, (row, k) => (row * Tile.SourcePitch) + k, accumulate);
            LaneProduct<RowByBlock>(depth, 8, 0, (row, k) => (row * Tile.SourcePitch) + k, accumulate);
            LaneProduct<WinogradRows>(depth, 8, 0, (row, k) => (row * Winograd.SourcePitch) + k, accumulate);
            LaneProduct<ColumnByColumn>(depth, Tile.Columns, 56, (row, k) => (k * 56) + row, accumulate);
        }
    }

    private void LaneProduct<TLayout>(int depth, int columns, int pitch, Func<int, int, int> at, bool accumulate) where TLayout : struct, IMultiplyLayout =>
        Product(LaneMultiply.Rows, depth, columns, at, accumulate, (a, b, c, cPitch) =>
        {
            for (var column = 0; column < columns; column += 8)
            {
                LaneMultiply.Block<TLayout>(ref a[0], pitch, ref b[column], ref c[column], cPitch, depth, accumulate);
            }
        });

    [Theory, MemberData(nameof(Widths))]
    public void Every_half_is_widened(int width)
    {
        // Infinities and what is no number become large finite numbers.
        var halves = Enumerable.Range(0, 1 << 16).Select(bits => (ushort)bits).Where(bits => Half.IsFinite(BitConverter.UInt16BitsToHalf(bits))).ToArray();
        var widened = new float[halves.Length];
        Each(width, halves.Length, new Widening(halves, widened));
        Assert.Equal(halves.Select(bits => BitConverter.SingleToInt32Bits((float)BitConverter.UInt16BitsToHalf(bits))), widened.Select(BitConverter.SingleToInt32Bits));
        Assert.Equal(widened, halves.Select(bits => SimdHalfFormat.LoadOne(ref bits, 0)));
    }

    /// <summary>All halves, what lies in the middle between neighbours, and what lies beside both: rounding is to nearest even, and beyond the range to infinity.</summary>
    [Theory, MemberData(nameof(Widths))]
    public void Numbers_are_rounded_to_the_nearest_half(int width)
    {
        float[] magnitudes = [.. Enumerable.Range(0, 0x7C00).SelectMany(bits =>
        {
            var (half, next) = ((float)BitConverter.UInt16BitsToHalf((ushort)bits), bits == 0x7BFF ? 65536 : (float)BitConverter.UInt16BitsToHalf((ushort)(bits + 1)));
            return new[] { half, (half + next) / 2 }.SelectMany(value => new[] { MathF.BitDecrement(value), value, MathF.BitIncrement(value) });
        }).Where(value => value >= 0), 65536, 1e10f, float.MaxValue, float.PositiveInfinity];
        float[] values = [.. magnitudes, .. magnitudes.Select(value => -value)];
        Array.Resize(ref values, Tile.RoundUp(values.Length, 16));
        var halves = new ushort[values.Length];
        Each(width, values.Length, new Narrowing(values, halves));
        Assert.Equal(values.Select(value => BitConverter.HalfToUInt16Bits((Half)value)), halves);

        // What is left over after the last full register.
        var single = new ushort[values.Length];
        for (var i = 0; i < values.Length; i++)
        {
            SimdHalfFormat.StoreOne(values[i], ref single[i], 0);
        }

        Assert.Equal(halves, single);
    }

    private static void Each<TWork>(int width, int count, TWork work) where TWork : IWork
    {
        for (var i = 0; i < count; i += width / 32)
        {
            switch (width)
            {
                case 512:
                    work.At<Simd512>(i);
                    break;
                case 256:
                    work.At<Simd256>(i);
                    break;
                default:
                    work.At<Simd128>(i);
                    break;
            }
        }
    }

    private void Products<V>() where V : struct, ISimd<V>
    {
        foreach (var rows in new[] { 1, 5, 8, 13, 30, 40 })
        {
            foreach (var depth in new[] { 1, 3, 4, 7, 36, 160 })
            {
                foreach (var (pitch, panel) in new[] { (Tile.SourcePitch, Tile.Columns), (Tile.SourcePitch, 2 * V.Count), (Winograd.SourcePitch, 2 * V.Count) })
                {
                    foreach (var accumulate in new[] { true, false })
                    {
                        Product(
                            rows, depth, panel, (row, k) => (row * pitch) + k, accumulate,
                            (a, b, c, cPitch) => SimdMultiply<V>.Rows(ref a[0], pitch, ref b[0], panel, ref c[0], cPitch, rows, depth, accumulate));
                    }
                }

                Product(
                    rows, depth, Tile.Columns, (row, k) => (k * 56) + row, true,
                    (a, b, c, _) => SimdMultiply<V>.Columns(ref a[0], 56, ref b[0], ref c[0], rows, depth), Tile.Columns);
            }
        }
    }

    private void Product(
        int rows, int depth, int columns, Func<int, int, int> at, bool accumulate, Action<float[], float[], float[], int> multiply, int cPitch = 40)
    {
        var written = Tile.RoundUp(rows, Tile.Rows);
        var (a, b, c) = (Values(64 * Tile.SourcePitch), Values(depth * columns), Values((written + 1) * cPitch));
        var before = (float[])c.Clone();
        multiply(a, b, c, cPitch);
        for (var i = 0; i < c.Length; i++)
        {
            var (row, column) = (i / cPitch, i % cPitch);
            if (row >= written || column >= columns)
            {
                Assert.Equal(before[i], c[i]);
            }
            else if (row < rows)
            {
                double sum = accumulate ? before[i] : 0, size = Math.Abs(sum);
                for (var k = 0; k < depth; k++)
                {
                    var product = (double)a[at(row, k)] * b[(k * columns) + column];
                    sum += product;
                    size += Math.Abs(product);
                }

                Assert.True(Math.Abs(c[i] - sum) <= (depth + 1) * Rounding * size, $"{rows} rows, depth {depth}, {columns} columns: {c[i]} for {sum}");
            }
        }
    }

    /// <summary>One value a key, 1 in one row of outputs for each key: the outputs are the weights.</summary>
    private (double[] Weights, double[] Expected) Softmax<V>() where V : struct, ISimd<V>
    {
        const int Keys = 5, Blocks = 4, Lanes = Tile.Columns;
        var shifts = new[] { 0f, -8f, 3f, -2f };
        var (state, output) = (new float[2 * Lanes], new float[Keys * Blocks * Lanes]);
        Array.Fill(state, -1e30f, 0, Lanes);
        var logits = new double[Keys * Blocks * Lanes];
        for (var block = 0; block < Blocks; block++)
        {
            var scores = Values(Keys * Lanes);
            for (var i = 0; i < scores.Length; i++)
            {
                scores[i] += shifts[block];
                logits[(block * Keys * Lanes) + i] = scores[i];
            }

            SimdSoftmax<V>.Block(ref scores[0], Keys, ref state[0], ref output[0], Keys * Blocks, Keys);
            scores.CopyTo(output, block * Keys * Lanes);
        }

        SimdSoftmax<V>.DivideBySum(ref state[Lanes], ref output[0], Keys * Blocks);
        var sums = Enumerable.Range(0, Lanes).Select(lane => Enumerable.Range(0, Keys * Blocks).Sum(k => Math.Pow(2, logits[(k * Lanes) + lane]))).ToArray();
        return ([.. output.Select(x => (double)x)], [.. logits.Select((x, i) => Math.Pow(2, x) / sums[i % Lanes])]);
    }

    private void Transforms<V>() where V : struct, ISimd<V>
    {
        const int Channels = 48, Side = 7, Distance = 3 * Winograd.SourcePitch;
        var picture = Values(Side * Side * Channels);
        foreach (var (y, x) in new[] { (-1, -1), (0, 1), (3, 2) })
        {
            var target = new float[Winograd.Values * Distance];
            SimdWinograd<V, float, SimdFloatFormat>.Source(
                ref picture[0], Side * Channels, Channels, Math.Max(0, -y), Math.Min(6, Side - y), Math.Max(0, -x), Math.Min(6, Side - x), y, x, 0,
                ref target[0], Distance, Channels);
            for (var c = 0; c < Channels; c++)
            {
                Check(
                    SourceMatrix, 6, (i, j) => y + i is >= 0 and < Side && x + j is >= 0 and < Side ? picture[((((y + i) * Side) + x + j) * Channels) + c] : 0,
                    i => target[(i * Distance) + c]);
            }
        }

        const int Depth = 3, TapPitch = 4 * Tile.Columns;
        var pitch = 2 * V.Count;
        var weights = Values(9 * TapPitch);
        var panel = new float[Winograd.Values * Distance];
        SimdWinograd<V, float, SimdFloatFormat>.Weights(ref weights[0], TapPitch, ref panel[0], Distance, pitch, pitch * Depth, Depth);
        for (var i = 0; i < Depth * Tile.Columns; i++)
        {
            var (k, column) = (i / Tile.Columns, i % Tile.Columns);
            var place = (column / pitch * pitch * Depth) + (k * pitch) + (column % pitch);
            Check(FilterMatrix, 3, (r, s) => weights[(((r * 3) + s) * TapPitch) + i], v => panel[(v * Distance) + place]);
        }

        var sums = Values(Winograd.Values * Distance);
        var given = (float[])sums.Clone();
        var pixels = new float[Winograd.Pixels * Winograd.Pixels * Tile.Columns];
        SimdWinograd<V, float, SimdFloatFormat>.Sums(ref sums[0], Distance, ref pixels[0], Tile.Columns);
        for (var c = 0; c < Tile.Columns; c++)
        {
            Check(SumMatrix, 6, (i, j) => given[(((i * 6) + j) * Distance) + c], i => pixels[(i * Tile.Columns) + c]);
        }
    }

    /// <summary>M d M^T, its values in the order of their rows.</summary>
    private static void Check(double[][] matrix, int size, Func<int, int, float> source, Func<int, float> result)
    {
        for (var i = 0; i < matrix.Length * matrix.Length; i++)
        {
            double sum = 0, magnitude = 0;
            for (var k = 0; k < size * size; k++)
            {
                var product = matrix[i / matrix.Length][k / size] * source(k / size, k % size) * matrix[i % matrix.Length][k % size];
                sum += product;
                magnitude += Math.Abs(product);
            }

            Assert.True(Math.Abs(result(i) - sum) <= 16 * Rounding * magnitude, $"value {i}: {result(i)} for {sum}");
        }
    }

    private float[] Values(int count) => [.. Enumerable.Range(0, count).Select(_ => (float)((2 * random.NextDouble()) - 1))];

    /// <summary>Something that a register is used for.</summary>
    private interface IWork
    {
        void At<V>(int first) where V : struct, ISimd<V>;
    }

    private sealed record Widening(ushort[] From, float[] To) : IWork
    {
        public void At<V>(int first) where V : struct, ISimd<V> => V.Store(V.LoadHalf(ref From[first]), ref To[first]);
    }

    private sealed record Narrowing(float[] From, ushort[] To) : IWork
    {
        public void At<V>(int first) where V : struct, ISimd<V> => V.StoreHalf(V.Load(ref From[first]), ref To[first]);
    }
}
