using ScottPlot;
using ScottPlot.TickGenerators;
using StableDiffusion.Ilgpu.Benchmarks.Serving;

namespace StableDiffusion.Ilgpu.Benchmarks.Compare;

/// <summary>Bars of the medians, a group for each piece of work, with whiskers from the fastest to the slowest round.</summary>
internal static class ComparisonChart
{
    private const int Width = 1000;
    private const int Height = 500;

    public static void Save(string path, string title, IReadOnlyList<Result> results)
    {
        using var plot = new Plot();
        var palette = new ScottPlot.Palettes.Category10();
        var places = new List<(double X, Series Series)>();
        for (var i = 0; i < results.Count; i++)
        {
            var bars = new List<Bar>();
            for (var group = 0; group < Work.All.Count; group++)
            {
                if (results[i].Series.TryGetValue(Work.All[group], out var series))
                {
                    var x = (group * (results.Count + 1)) + i;
                    places.Add((x, series));
                    bars.Add(new Bar
                    {
                        Position = x,
                        Value = Seconds(series.Median),
                        FillColor = palette.GetColor(i),
                    });
                    var label = plot.Add.Text($"{Seconds(series.Median):0.00} s", x, Seconds(series.Max));
                    label.LabelAlignment = Alignment.LowerCenter;
                }
            }

            plot.Add.Bars(bars).LegendText = results[i].Name;
        }

        foreach (var (x, series) in places)
        {
            var whisker = plot.Add.Line(x, Seconds(series.Min), x, Seconds(series.Max));
            whisker.Color = Colors.Black;
            whisker.MarkerSize = 5;
            whisker.MarkerShape = MarkerShape.HorizontalBar;
        }

        plot.Axes.Bottom.TickGenerator = new NumericManual(
            [.. Work.All.Select((w, group) => new Tick((group * (results.Count + 1)) + ((results.Count - 1) / 2.0), w.Title))]);
        plot.Axes.Margins(bottom: 0, top: 0.3);
        plot.HideGrid();
        plot.Title(title);
        plot.YLabel("seconds (less is better)");
        plot.ShowLegend(Alignment.UpperLeft);
        plot.SavePng(path, Width, Height);
    }

    private static double Seconds(double milliseconds) => milliseconds / 1000;
}
