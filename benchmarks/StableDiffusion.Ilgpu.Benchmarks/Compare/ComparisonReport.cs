using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using StableDiffusion.Ilgpu.Benchmarks.Serving;

namespace StableDiffusion.Ilgpu.Benchmarks.Compare;

/// <summary>The results of <c>compare</c>. The first result is the one that peers are compared with.</summary>
internal sealed record ComparisonReport(
    string Model, int Size, int Runs, Circumstances Circumstances, MachinePeak PeakBefore, MachinePeak PeakAfter,
    IReadOnlyDictionary<Work, double> Gflop, IReadOnlyList<Result> Results, IReadOnlyList<string> LeftOut)
{
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    private MachinePeak Peak => PeakBefore.Or(PeakAfter);

    private Result Ours => Results[0];

    private IEnumerable<Result> Peers => Results.Where(r => r.Side == Side.Peer);

    /// <exception cref="StableDiffusionException">There is no baseline: no peak or no count of operations.</exception>
    public static ComparisonReport Create(
        string model, int size, int runs, Circumstances circumstances, MachinePeak before, MachinePeak after,
        IReadOnlyDictionary<Work, double> gflop, IReadOnlyList<Result> results, IReadOnlyList<string> leftOut)
    {
        var report = new ComparisonReport(model, size, runs, circumstances, before, after, gflop, results, leftOut);
        if (!(report.Peak.Gflops > 0) || Work.All.Any(w => !(gflop[w] > 0)) || report.Ours.Side != Side.Ours)
        {
            throw new StableDiffusionException("no number without its baseline: the machine's peak or the work is not known");
        }

        return report;
    }

    public string ToMarkdown()
    {
        var text = new StringBuilder();
        text.AppendLine($"# {Title}").AppendLine();
        foreach (var line in Circumstances.Lines())
        {
            text.AppendLine($"- {line}");
        }

        text.AppendLine(
            $"- sizes: picture {Size}x{Size}, UNet batch {BenchmarkInputs.Items} (guidance), VAE batch 1; synthetic weights, the same for all");
        text.AppendLine($"- FMA peak: {Peak.Gflops:0.0} GFLOP/s (before {PeakBefore.Gflops:0.0}, after {PeakAfter.Gflops:0.0})");
        text.AppendLine($"- GFLOP: {string.Join(", ", Work.All.Select(w => $"{Gflop[w]:0} a {w}"))} (multiplications and additions of direct convolutions, matrix products and attention)");
        text.AppendLine($"- medians of {Runs} rounds after a warm-up; in each round the contenders take turns").AppendLine();
        foreach (var result in Results)
        {
            text.AppendLine($"- **{result.Name}**: {result.About}{Agreement(result)}");
        }

        foreach (var line in LeftOut)
        {
            text.AppendLine($"- left out: {line}");
        }

        text.AppendLine();
        foreach (var work in Work.All)
        {
            AddTimes(text, work);
        }

        foreach (var result in Results.Where(r => r.Seconds.Count > 0))
        {
            var all = string.Join(", ", result.Seconds.Select(s => $"{s:0.00}"));
            text.AppendLine($"{result.Name}: {Benchmarks.Median.Of(result.Seconds):0.00} s from start to end (median of {all}); it printed no figures.").AppendLine();
        }

        AddScaling(text);
        AddBars(text);
        return text.ToString();
    }

    public string ToJson()
    {
        var json = Circumstances.AddTo(new JsonObject { ["model"] = Model, ["size"] = Size, ["unet_batch"] = BenchmarkInputs.Items, ["runs"] = Runs });
        json["fma_peak_gflops"] = Peak.Gflops;
        json["gflop"] = new JsonObject(Work.All.Select(w => KeyValuePair.Create(w.Key, (JsonNode?)Gflop[w])));
        json["results"] = new JsonArray([.. Results.Select(ToJson)]);
        json["left_out"] = new JsonArray([.. LeftOut.Select(l => (JsonNode)l)]);
        return json.ToJsonString(Indented);
    }

    /// <summary>Writes <c>compare-MODEL-SIZE</c> as Markdown, JSON and chart; earlier ones are replaced.</summary>
    /// <exception cref="StableDiffusionException">The folder cannot be written to.</exception>
    public void Save(string folder)
    {
        var path = Path.Combine(folder, $"compare-{Model}-{Size}");
        try
        {
            Directory.CreateDirectory(folder);
            File.WriteAllText($"{path}.md", $"{ToMarkdown()}\n![{Title}]({Path.GetFileName(path)}.png)\n");
            File.WriteAllText($"{path}.json", ToJson() + "\n");
            ComparisonChart.Save($"{path}.png", Title, [.. Results.Where(r => r.Side != Side.OursOnCores && r.Series.Count > 0)]);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StableDiffusionException($"{path}: cannot be written: {e.Message}", e);
        }

        SharedOptions.Progress($"wrote {path}.md, .json and .png");
    }

    private string Title => $"{Model}, {Size}x{Size}: this library and its peers";

    private static string Agreement(Result result) => result.Errors.Count == 0 ? ""
        : $"; its results differ from ours by {string.Join(", ", result.Errors.Select(e => $"{e.Value:0.0e0} ({e.Key})"))} (relative L2)";

    private void AddTimes(StringBuilder text, Work work)
    {
        var table = new MarkdownTable(work.Title, "ms", "from … to", "GFLOP/s", "of FMA peak", "this library is faster by", "in single rounds");
        var ours = Ours.Series[work];
        foreach (var result in Results.Where(r => r.Side != Side.OursOnCores && r.Series.ContainsKey(work)))
        {
            var series = result.Series[work];
            var gflops = Gflop[work] / series.Median * 1000;
            var ratio = ours.FasterThan(series);
            var isPeer = result.Side == Side.Peer;
            table.Add(
                result.Name, $"{series.Median:0}", $"{series.Min:0} … {series.Max:0}", $"{gflops:0.0}", $"{gflops / Peak.Gflops:0.0 %}",
                isPeer ? $"{ratio.Median:0.00}x" : "", isPeer ? $"{ratio.Min:0.00} … {ratio.Max:0.00}" : "");
        }

        text.Append(table).AppendLine();
    }

    private void AddScaling(StringBuilder text)
    {
        var measured = Results.Where(r => r.Side == Side.OursOnCores).Append(Ours).ToArray();
        if (measured is not [{ Side: Side.OursOnCores, Cores: 1 } one, ..])
        {
            return;
        }

        var table = new MarkdownTable(["cores", .. Work.All.SelectMany(w => new[] { $"{w}, ms", "efficiency" })]);
        foreach (var result in measured)
        {
            table.Add(
            [
                $"{result.Cores}",
                .. Work.All.SelectMany(w => new[]
                {
                    $"{result.Series[w].Median:0}", $"{one.Series[w].Efficiency(result.Series[w], result.Cores):0 %}",
                }),
            ]);
        }

        text.Append(table).AppendLine();
        text.AppendLine("Efficiency is the time on one core, divided by the number of cores and the time on them.").AppendLine();
    }

    private void AddBars(StringBuilder text)
    {
        var table = new MarkdownTable("faster than libtorch (the faster layout)", "bar", "goal", "measured", "");
        foreach (var (work, bar, goal) in new[] { (Work.UNetStep, 1.3, 2.0), (Work.VaeDecode, 1.5, 2.5) })
        {
            var torch = Peers.Where(p => p.Name.StartsWith(Field.TorchName, StringComparison.Ordinal) && p.Series.ContainsKey(work)).ToArray();
            if (torch.Length == 0)
            {
                text.AppendLine("libtorch was not there to compare with: the bars are open.");
                return;
            }

            var ratio = Ours.Series[work].FasterThan(torch.MinBy(p => p.Series[work].Median)!.Series[work]).Median;
            table.Add(
                work.Title, $">= {bar:0.0}x", $"{goal:0.0}x", $"{ratio:0.00}x", ratio >= goal ? "goal met" : ratio >= bar ? "met" : "missed");
        }

        text.Append(table);
    }

    private JsonNode ToJson(Result result)
    {
        var node = new JsonObject { ["name"] = result.Name, ["about"] = result.About, ["peer"] = result.Side == Side.Peer, ["cores"] = result.Cores };
        foreach (var (work, series) in result.Series)
        {
            var ratio = Ours.Series[work].FasterThan(series);
            node[work.Key] = new JsonObject
            {
                ["ms"] = series.Median,
                ["ms_rounds"] = new JsonArray([.. series.Values.Select(v => (JsonNode)v)]),
                ["gflops"] = Gflop[work] / series.Median * 1000,
                ["share"] = Gflop[work] / series.Median * 1000 / Peak.Gflops,
                ["ours_faster_by"] = ratio.Median,
                ["distance"] = result.Errors.TryGetValue(work, out var distance) ? distance : null,
            };
        }

        if (result.Seconds.Count > 0)
        {
            node["seconds"] = new JsonArray([.. result.Seconds.Select(s => (JsonNode)s)]);
        }

        return node;
    }
}
