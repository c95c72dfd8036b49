using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary>The results of <c>load</c>.</summary>
/// <param name="Model">Its name.</param>
/// <param name="Runs">Rounds that the medians are taken of.</param>
/// <param name="Circumstances">Where and of what.</param>
/// <param name="Peak">What the machine can do at best.</param>
/// <param name="Bytes">Of the weight files together.</param>
/// <param name="ReadOne">Seconds of reading the files on one thread into one small buffer, which keeps nothing.</param>
/// <param name="ReadAll">The same on a thread for each core.</param>
/// <param name="ReadKept">The same on one thread into new memory that holds them, in a process of its own.</param>
/// <param name="ReadLarge">The same into memory on large pages, as the weights have it.</param>
/// <param name="Weights">Loads of the weights without compiling kernels.</param>
/// <param name="Loads">Whole loads, as users see them.</param>
internal sealed record LoadReport(
    string Model, int Runs, Circumstances Circumstances, MachinePeak Peak, long Bytes, double[] ReadOne, double[] ReadAll, double[] ReadKept,
    double[] ReadLarge, LoadProbe[] Weights, LoadProbe[] Loads)
{
    private const double SpeedBar = 0.5;
    private const long MemoryBar = 700_000_000;

    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    private double ReadSeconds => Median.Of(ReadOne);

    private double ReadAllSeconds => Median.Of(ReadAll);

    private double ReadKeptSeconds => Median.Of(ReadKept);

    private double ReadLargeSeconds => Median.Of(ReadLarge);

    private double WeightSeconds => Median.Of(Weights.Select(w => w.Seconds));

    private double LoadSeconds => Median.Of(Loads.Select(l => l.Seconds));

    private double KernelSeconds => Median.Of(Loads.Select(l => l.KernelSeconds));

    private long PeakResidentBytes => Loads.Max(l => l.PeakResidentBytes);

    public string ToMarkdown()
    {
        var text = new StringBuilder();
        text.AppendLine($"## loading {Model}").AppendLine();
        foreach (var line in Circumstances.Lines())
        {
            text.AppendLine($"- {line}");
        }

        text.AppendLine($"- sizes: fp16 files in diffusers' layout, {Bytes / 1e9:0.000} GB in all, in the system's cache; synthetic weights");
        text.AppendLine($"- FMA peak: {Peak.Gflops:0.0} GFLOP/s; copy: {Peak.CopyGBps:0.0} GB/s read + written");
        text.AppendLine($"- medians of {Runs} rounds after a first one; every load, and reading into memory, in a process of its own").AppendLine();
        var table = new MarkdownTable("", "s", "best", "GB/s", "cores used");
        Add("reading the files into one small buffer, one thread", ReadOne, null);
        Add("the same on all cores", ReadAll, null);
        Add("reading the files into memory that holds them, one thread", ReadKept, null);
        Add("the same on large pages", ReadLarge, null);
        Add("loading the weights, no kernels", [.. Weights.Select(w => w.Seconds)], Weights);
        Add("whole load", [.. Loads.Select(l => l.Seconds)], Loads);
        text.Append(table).AppendLine();
        text.AppendLine($"The kernels, compiled beside the weights, were ready after {KernelSeconds:0.00} s.").AppendLine();
        var bars = new MarkdownTable("bar", "limit", "measured", "");
        foreach (var (reading, readSeconds) in new[] { ("one small buffer", ReadSeconds), ("memory", ReadKeptSeconds), ("memory on large pages", ReadLargeSeconds) })
        {
            AddSpeed("loading the weights", WeightSeconds, reading, readSeconds);
            AddSpeed("whole load", LoadSeconds, reading, readSeconds);
        }

        bars.Add(
            "peak resident set of a process that loads", $"<= {(Bytes + MemoryBar) / 1e9:0.00} GB", $"{PeakResidentBytes / 1e9:0.00} GB",
            PeakResidentBytes <= Bytes + MemoryBar ? "met" : "missed");
        return text.Append(bars).ToString();

        void Add(string what, double[] seconds, LoadProbe[]? probes) => table.Add(
            what, $"{Median.Of(seconds):0.000}", $"{seconds.Min():0.000}", $"{Bytes / Median.Of(seconds) / 1e9:0.00}",
            probes is null ? "" : $"{Median.Of(probes.Select(p => p.CpuSeconds / p.Seconds)):0.00}");

        void AddSpeed(string what, double seconds, string reading, double readSeconds) => bars.Add(
            $"{what}, of the speed of reading into {reading}", $">= {SpeedBar:0 %}", $"{readSeconds / seconds:0.0 %}",
            readSeconds / seconds >= SpeedBar ? "met" : "missed");
    }

    public string ToJson()
    {
        var json = Circumstances.AddTo(new JsonObject { ["model"] = Model, ["runs"] = Runs });
        json["fma_peak_gflops"] = Peak.Gflops;
        json["copy_gbps"] = Peak.CopyGBps;
        json["file_bytes"] = Bytes;
        json["read_one_thread_s"] = ReadSeconds;
        json["read_all_cores_s"] = ReadAllSeconds;
        json["read_into_memory_s"] = ReadKeptSeconds;
        json["read_into_large_pages_s"] = ReadLargeSeconds;
        json["load_weights_s"] = WeightSeconds;
        json["load_s"] = LoadSeconds;
        json["kernels_ready_s"] = KernelSeconds;
        json["load_weights_share"] = ReadSeconds / WeightSeconds;
        json["load_share"] = ReadSeconds / LoadSeconds;
        json["load_share_of_reading_into_memory"] = ReadKeptSeconds / LoadSeconds;
        json["peak_rss_bytes"] = PeakResidentBytes;
        return json.ToJsonString(Indented);
    }
}
