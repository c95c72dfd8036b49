using StableDiffusion.Ilgpu.Kernels.Gemm;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>The tiles that processors cut contractions into, against dealing them out.</summary>
public sealed class TileChoiceTests
{
    private const int MostRows = 120;
    private const int MostPanels = 20;

    /// <summary>
    /// What the model's bound may cost beside the best of all tiles: the dealing of tiles of several sizes depends on their order, which it does not know.
    /// </summary>
    private const double Loss = 1.1;

    private static readonly TileChoice Choice = GemmTiling.Tiles;

    public static TheoryData<int> GroupCounts => [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64];

    /// <summary>Rows and panels of contractions of Stable Diffusion 1.5 at 512x512, of its time embedding, and of the decoder.</summary>
    public static TheoryData<int, int> Shapes => new()
    {
        { 8192, 10 }, { 8192, 30 }, { 8192, 80 }, { 2048, 20 }, { 2048, 60 }, { 2048, 160 }, { 512, 40 }, { 512, 120 }, { 512, 320 }, { 128, 40 }, { 128, 320 },
        { 154, 10 }, { 77, 24 }, { 2, 40 }, { 1, 10 }, { 4096, 16 }, { 65536, 8 },
    };

    [Theory]
    [MemberData(nameof(GroupCounts))]
    public void Dealing_takes_no_longer_than_the_model_says(int groups)
    {
        var random = new Random(groups);
        for (var i = 0; i < 2000; i++)
        {
            var (rows, panels) = (random.Next(1, 3000), random.Next(1, 100));
            var (tileRows, tilePanels) = (8 * random.Next(1, 16), random.Next(1, Math.Min(20, panels) + 1));
            var (dealt, bound) = (Deal(rows, panels, tileRows, tilePanels, groups), Choice.Time(rows, panels, tileRows, tilePanels, groups));
            Assert.True(dealt <= bound * (1 + 1e-9), $"{rows}x{panels} in {tileRows}x{tilePanels} to {groups} groups: {dealt}, not {bound}");
        }
    }

    [Theory]
    [MemberData(nameof(Shapes))]
    public void No_other_tiles_are_much_faster(int rows, int panels)
    {
        foreach (var groups in GroupCounts.Select(row => row.Data))
        {
            var (tileRows, tilePanels) = Choice.Best(rows, panels, MostRows, MostPanels, groups);
            Assert.True(tileRows % 8 == 0 && tileRows is > 0 and <= MostRows && tilePanels > 0 && tilePanels <= Math.Min(MostPanels, panels));
            var fastest = (
                from otherRows in Enumerable.Range(1, MostRows / 8).Select(r => 8 * r)
                from otherPanels in Enumerable.Range(1, Math.Min(MostPanels, panels))
                where Tiles(rows, otherRows) * Tiles(panels, otherPanels) <= 40 * groups
                select Deal(rows, panels, otherRows, otherPanels, groups)).DefaultIfEmpty(double.MaxValue).Min();
            var chosen = Deal(rows, panels, tileRows, tilePanels, groups);
            Assert.True(chosen <= Loss * fastest, $"{groups} groups: {tileRows}x{tilePanels} takes {chosen / fastest:f3} of the fastest tiles' time");
        }
    }

    [Fact]
    public void One_group_gets_the_largest_tiles() => Assert.Equal((MostRows, MostPanels), Choice.Best(240, 40, MostRows, MostPanels, 1));

    /// <summary>When the last group is done, each taking the next tile as soon as it is free.</summary>
    private static double Deal(int rows, int panels, int tileRows, int tilePanels, int groups)
    {
        var free = new PriorityQueue<int, double>(Enumerable.Range(0, groups).Select(g => (g, 0.0)));
        var last = 0.0;
        for (var panel = 0; panel < panels; panel += tilePanels)
        {
            for (var row = 0; row < rows; row += tileRows)
            {
                free.TryDequeue(out var group, out var time);
                time += Choice.Cost(Math.Min(tileRows, rows - row), Math.Min(tilePanels, panels - panel));
                last = Math.Max(last, time);
                free.Enqueue(group, time);
            }
        }

        return last;
    }

    private static int Tiles(int all, int size) => (all + size - 1) / size;
}
