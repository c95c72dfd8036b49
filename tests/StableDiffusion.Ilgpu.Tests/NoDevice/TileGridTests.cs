using StableDiffusion.Ilgpu.Imaging;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

public sealed class TileGridTests
{
    /// <summary>Size, tile, overlap, circular.</summary>
    public static MatrixTheoryData<int, int, double, bool> Axes =>
        new([1, 5, 8, 9, 31, 64, 100, 257], [1, 8, 32, 33], [0, 0.25, 0.3, 0.5], [false, true]);

    [Theory]
    [MemberData(nameof(Axes))]
    public void Tiles_cover_everything_and_overlap_at_least_as_asked(int size, int length, double overlap, bool circular)
    {
        var axis = TileAxis.Create(size, length, overlap, circular);
        Assert.InRange(axis.Length, 1, length);
        var shared = (int)Math.Round(length * overlap);
        Assert.InRange(axis.Length, 1, circular ? size + shared : size);
        for (var i = 1; i < axis.Starts.Count; i++)
        {
            Assert.True(axis.Starts[i] > axis.Starts[i - 1]);
            Assert.True(axis.Starts[i - 1] + axis.Length - axis.Starts[i] >= shared, $"tiles {i - 1} and {i} overlap too little");
        }

        if (circular)
        {
            Assert.True(axis.Starts[^1] + axis.Length - size >= Math.Min(shared, size));
        }
        else
        {
            Assert.Equal((0, size), (axis.Starts[0], axis.Starts[^1] + axis.Length));
        }

        Assert.All(axis.TotalWeights(8), w => Assert.True(w > 0));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Weights_fall_linearly_and_add_up_to_one_where_two_tiles_meet(bool circular)
    {
        var axis = TileAxis.Create(96, 32, 0.25, circular);
        Assert.All(axis.TotalWeights(8), w => Assert.Equal(1, w, 1e-6));
        var weights = axis.Weights(1, 8);
        Assert.Equal(weights.Reverse(), weights);
        var ramp = weights.TakeWhile(w => w < 1).ToArray();
        Assert.Equal((axis.Starts[0] + axis.Length - axis.Starts[1]) * 8, ramp.Length);
        Assert.All(ramp.Zip(ramp.Skip(1)), pair => Assert.Equal(1f / ramp.Length, pair.Second - pair.First, 1e-6));
    }

    [Fact]
    public void What_needs_no_neighbours_comes_out_as_without_tiles()
    {
        // Doubling each pixel: any tiling must give what the whole gives.
        foreach (var circular in new[] { false, true })
        {
            foreach (var (height, width, tile) in new[] { (9, 20, 8), (7, 5, 6), (16, 16, 16), (3, 40, 7) })
            {
                float[] source = [.. Enumerable.Range(0, height * width * 3).Select(i => MathF.Sin(i))];
                var grid = new TileGrid(TileAxis.Create(height, tile, 0.5, circular), TileAxis.Create(width, tile, 0.5, circular));
                var actual = grid.Apply(source, 1, 2, t => Double(t, grid.Rows.Length, grid.Columns.Length));
                Assert.Equal(Double(source, height, width), actual, (a, b) => Math.Abs(a - b) < 1e-6);
                Assert.Equal(source, grid.Apply(source, 1, 1, t => t), (a, b) => Math.Abs(a - b) < 1e-6);
            }
        }
    }

    [Fact]
    public void One_tile_is_the_same_bit_for_bit()
    {
        float[] source = [.. Enumerable.Range(0, 5 * 6 * 3).Select(i => MathF.Sin(i))];
        var grid = new TileGrid(TileAxis.Create(5, 32, 0.5, false), TileAxis.Create(6, 6, 0.5, false));
        Assert.Equal(source, grid.Apply(source, 1, 1, t => t));
    }

    [Fact]
    public void Latents_are_enlarged_as_PyTorch_does_it()
    {
        // interpolate(tensor([[0, 1], [2, 3]]), scale_factor=2, mode='bilinear' or 'nearest').
        Assert.Equal(
            [0, 0.25f, 0.75f, 1, 0.5f, 0.75f, 1.25f, 1.5f, 1.5f, 1.75f, 2.25f, 2.5f, 2, 2.25f, 2.75f, 3],
            LatentResize.Bilinear([0, 1, 2, 3], 2, 2, 4, 4));
        Assert.Equal([0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3], LatentResize.Nearest([0, 1, 2, 3], 2, 2, 4, 4));
        Assert.Equal([5, 6, 7, 8], LatentResize.Bilinear([5, 6, 7, 8], 1, 2, 1, 2));
    }

    [Theory]
    [InlineData(false, 64, 64, 100, false)]
    [InlineData(false, 64, 64, 99, true)]
    [InlineData(true, 64, 64, 1000, true)]
    [InlineData(true, 32, 33, 1000, true)]
    [InlineData(true, 32, 32, 99, false)]
    public void Tiles_are_used_where_asked_for_or_where_memory_is_too_small(
        bool asked, int height, int width, long budget, bool expected) =>
        Assert.Equal(
            expected, VaeTiles.AreNeeded(new GenerationRequest { Prompt = "", VaeTiling = asked }, height, width, () => 100, () => budget));

    [Fact]
    public void Values_become_the_nearest_bytes()
    {
        byte[] all = [.. Enumerable.Range(0, 256).Select(b => (byte)b)];
        Assert.Equal(all, PixelBytes.Of(PixelBytes.ToFloats(all)));
        Assert.Equal([0, 0, 127, 128, 255, 255], PixelBytes.Of([-2, -1, -0.001f, 0.001f, 1, 2]));
        Assert.Equal([3, 4], PixelBytes.Of([(3.4f / 127.5f) - 1, (3.6f / 127.5f) - 1]));
    }

    private static float[] Double(float[] source, int height, int width)
    {
        var result = new float[source.Length * 4];
        for (var y = 0; y < height * 2; y++)
        {
            for (var x = 0; x < width * 2; x++)
            {
                source.AsSpan((((y / 2) * width) + (x / 2)) * 3, 3).CopyTo(result.AsSpan(((y * width * 2) + x) * 3));
            }
        }

        return result;
    }
}
