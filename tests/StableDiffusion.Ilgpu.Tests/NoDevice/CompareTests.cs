using StableDiffusion.Ilgpu.Benchmarks.Compare;
using StableDiffusion.Ilgpu.Benchmarks.Serving;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>What stands between a contender's answers and the numbers of the comparison.</summary>
public class CompareTests
{
    [Fact]
    public void A_command_s_last_line_of_json_counts()
    {
        const string output = "loading {model}\n{\"unet_step_ms\": 1}\n {\"unet_step_ms\": 1500.5, \"vae_decode_ms\": 3e3}\r\ndone\n";
        var figures = Answer.Figures("peer", output);
        Assert.Equal(1500.5, figures[Work.UNetStep]);
        Assert.Equal(3000, figures[Work.VaeDecode]);
    }

    [Fact]
    public void A_command_may_print_some_figures_or_none()
    {
        Assert.Equal([Work.VaeDecode], Answer.Figures("peer", "{\"vae_decode_ms\": 7}").Keys);
        Assert.Empty(Answer.Figures("peer", "step 1 of 20\n[1, 2]\n{ not json }"));
    }

    [Theory]
    [InlineData("0")]
    [InlineData("-3")]
    [InlineData("\"12\"")]
    [InlineData("1e999")]
    [InlineData("[1]")]
    public void A_figure_that_is_no_time_is_refused(string value)
    {
        var error = Assert.Throws<StableDiffusionException>(() => Answer.Figures("peer", $"{{\"unet_step_ms\": {value}}}"));
        Assert.StartsWith("peer: unet_step_ms is ", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_served_contender_must_answer_with_json()
    {
        var error = Assert.Throws<StableDiffusionException>(() => Answer.Parse("peer", "Segmentation fault"));
        Assert.Contains("Segmentation fault", error.Message, StringComparison.Ordinal);
        Assert.Throws<StableDiffusionException>(() => Answer.Parse("peer", "{\"out\": \"abc\"}").Values("out"));
        Assert.Equal([1f, -2f], Answer.Parse("peer", "{\"out\": \"AACAPwAAAMA=\"}").Values("out"));
    }

    [Fact]
    public void Medians_and_single_rounds_give_the_ratio()
    {
        var (ours, theirs) = (new Series([10, 30, 20]), new Series([40, 30, 50]));
        Assert.Equal((20, 10, 30), (ours.Median, ours.Min, ours.Max));
        Assert.Equal(new Ratio(2, 1, 4), ours.FasterThan(theirs));
    }

    [Fact]
    public void Efficiency_is_one_where_cores_share_the_time()
    {
        Assert.Equal(1, new Series([8.0]).Efficiency(new Series([2.0]), 4));
        Assert.Equal(0.5, new Series([8.0]).Efficiency(new Series([8.0]), 2));
    }

    [Fact]
    public void Distance_is_relative_and_tells_other_sizes()
    {
        Assert.Equal(0.1, RelativeDistance.Of([3.3f, 4.4f], [3, 4]), 1e-6);
        Assert.Equal(double.PositiveInfinity, RelativeDistance.Of([1], [1, 2]));
        Assert.Equal(double.NaN, RelativeDistance.Of([float.NaN], [1]));
    }

    [Fact]
    public void Core_counts_are_powers_of_two_and_all()
    {
        Assert.Equal([1], CoreCounts.Default(1));
        Assert.Equal([1, 2], CoreCounts.Default(2));
        Assert.Equal([1, 2, 4, 6], CoreCounts.Default(6));
        Assert.Equal([1, 2, 4], CoreCounts.Parse("4,1,2,2", 4));
        Assert.All(["", "0", "5", "1,x"], text => Assert.Throws<StableDiffusionException>(() => CoreCounts.Parse(text, 4)));
    }
}
