using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Packed panels against their definition, bit for bit.</summary>
public sealed class WeightPackerTests
{
    public static TheoryData<int, int> Shapes => new()
    {
        // channels, taps
        { 1, 1 }, { 3, 1 }, { 7, 1 }, { 8, 1 }, { 31, 1 }, { 32, 1 }, { 33, 1 }, { 100, 1 }, { 320, 1 }, { 768, 1 },
        { 1, 9 }, { 3, 9 }, { 4, 9 }, { 7, 9 }, { 8, 9 }, { 9, 9 }, { 37, 9 }, { 320, 9 }, { 5, 4 }, { 11, 25 },
    };

    [Theory]
    [MemberData(nameof(Shapes))]
    public void Halves_are_where_the_layout_says(int channels, int taps) => Check<ushort>(channels, taps, i => (ushort)((i * 40503) >> 3));

    [Theory]
    [MemberData(nameof(Shapes))]
    public void Floats_are_where_the_layout_says(int channels, int taps) => Check<float>(channels, taps, i => i);

    [Fact]
    public void A_panel_of_another_size_is_refused() =>
        Assert.Throws<ArgumentException>(() => WeightPacker.Pack<ushort>(new ushort[320], 1, new ushort[319]));

    [Theory]
    [InlineData(false, 1, 1)]
    [InlineData(false, 40, 1)]
    [InlineData(false, 100, 3)]
    [InlineData(true, 32, 1)]
    [InlineData(true, 64, 1)]
    [InlineData(true, 40, 1)]
    [InlineData(true, 200, 1)]
    public void Every_row_is_in_the_column_that_its_bias_is_in(bool geglu, int rows, int siblings)
    {
        var kernel = new Weight("kernel", [rows, 8]);
        var op = new Contraction(kernel, null, Window.Pointwise)
        {
            Geglu = geglu,
            Siblings = [.. Enumerable.Range(1, siblings - 1).Select(i => (new Weight($"sibling{i}", [rows, 8]), (Weight?)null))],
        };
        var found = new Dictionary<int, int>();
        for (var panel = 0; panel < WeightPacker.Panels(op); panel++)
        {
            foreach (var (column, firstRow, count) in WeightPacker.RowsOf(op, panel))
            {
                Assert.InRange(column + count, column, Tile.Columns);
                for (var i = 0; i < count; i++)
                {
                    found.Add(firstRow + i, (panel * Tile.Columns) + column + i);
                }
            }
        }

        Assert.Equal(Enumerable.Range(0, op.Columns).ToDictionary(r => r, r => WeightPacker.PackedColumn(op, r)), found.OrderBy(f => f.Key));
    }

    private static void Check<T>(int channels, int taps, Func<int, T> value) where T : unmanaged
    {
        var depth = channels * taps;
        T[] rows = [.. Enumerable.Range(1, Tile.Columns * depth).Select(value)];
        var expected = new T[rows.Length];
        for (var column = 0; column < Tile.Columns; column++)
        {
            for (var channel = 0; channel < channels; channel++)
            {
                for (var tap = 0; tap < taps; tap++)
                {
                    expected[(((tap * channels) + channel) * Tile.Columns) + column] = rows[(((column * channels) + channel) * taps) + tap];
                }
            }
        }

        var packed = new T[rows.Length];
        WeightPacker.Pack<T>(rows, taps, packed);
        Assert.Equal(expected, packed);
    }
}
