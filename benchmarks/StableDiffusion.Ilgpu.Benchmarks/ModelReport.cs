using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using StableDiffusion.Ilgpu.Benchmarks.Serving;
using StableDiffusion.Ilgpu.Devices;

namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary>The results of <c>model</c>.</summary>
internal sealed record ModelReport(
    ModelSubject Subject, int Runs, Circumstances Circumstances, MachinePeak PeakBefore, MachinePeak PeakAfter, ProgramTiming Step,
    ProgramTiming Decode, SamplerTiming Sampler, long ArenaBytes, MemoryUse Memory)
{
    private const double ShareBar = 0.6;
    private const long ResidentBar = 3_000_000_000;
    private const long ArenaBar = 150_000_000;
    private const double SamplerBar = 0.02;

    /// <summary>Allocated on a GPU for SD 1.5 at 512x512, one picture at a time.</summary>
    private const long DeviceBar = 2_400_000_000;

    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    private double SamplerMilliseconds => Sampler.Beside(Step.Milliseconds, IsGpu);

    private MachinePeak Peak => PeakBefore.Or(PeakAfter);

    private double StepShare => Step.Gflops / Peak.Gflops;

    private double DecodeShare => Decode.Gflops / Peak.Gflops;

    private KnownWork? Expected => Subject.Expected;

    private bool IsGpu => Subject.Device.Hardware != Hardware.Processor;

    /// <exception cref="StableDiffusionException">The launches do not add up to the model's work.</exception>
    public void CheckWork()
    {
        Expected?.Check(Work.UNetStep, Step.Flops / 1e9);
        Expected?.Check(Work.VaeDecode, Decode.Flops / 1e9);
    }

    public string ToMarkdown()
    {
        var text = new StringBuilder();
        text.AppendLine($"## {Subject.Model}, {Subject.Size}x{Subject.Size}{(Subject.Pictures > 1 ? $", {Subject.Pictures} pictures" : "")}").AppendLine();
        foreach (var line in Circumstances.Lines())
        {
            text.AppendLine($"- {line}");
        }

        text.AppendLine(
            $"- sizes: picture {Subject.Size}x{Subject.Size}, UNet batch {Subject.UNetItems} (guidance), VAE batch 1, fp16 storage, fp32 arithmetic; "
            + "synthetic weights");
        text.AppendLine($"- {Peak.Title}: {Peak.Gflops:0.0} GFLOP/s (before {PeakBefore.Gflops:0.0}, after {PeakAfter.Gflops:0.0})");
        text.AppendLine(
            $"- copy: {Peak.CopyGBps:0.0} GB/s read + written (before {PeakBefore.CopyGBps:0.0}, after {PeakAfter.CopyGBps:0.0})");
        text.AppendLine($"- medians of {Runs} after a warm-up").AppendLine();

        var programs = new MarkdownTable("program", "launches", "GFLOP", "ms", "GFLOP/s", "of peak", "cores used");
        AddProgram("UNet step", Step, StepShare);
        AddProgram("VAE decode", Decode, DecodeShare);
        text.Append(programs).AppendLine();
        if (Expected is { } expected)
        {
            text.AppendLine(
                $"GFLOP as known: {expected.Step:0} a step, {expected.Decode:0} a decode; both within {KnownWork.Tolerance:0 %} "
                + "(a step leaves out what runs once a prompt or once a timestep).").AppendLine();
        }

        text.AppendLine($"{1000 / Step.Milliseconds:0.00} steps/s; {Subject} and decode, from fp16 files: {Memory}").AppendLine();
        AddKinds(text, "UNet step", Step);
        AddKinds(text, "VAE decode", Decode);
        AddBars(text);
        return text.ToString();

        void AddProgram(string name, ProgramTiming timing, double share) => programs.Add(
            name, Text(timing.Launches), $"{timing.Flops / 1e9:0.0}", Milliseconds(timing.Milliseconds), $"{timing.Gflops:0.0}",
            $"{share:0.0 %}", $"{timing.CoresUsed:0.00}");
    }

    public string ToJson()
    {
        var json = Circumstances.AddTo(new JsonObject { ["model"] = Subject.Model, ["size"] = Subject.Size, ["unet_batch"] = Subject.UNetItems, ["runs"] = Runs });
        json["peak"] = Peak.Title;
        json["peak_gflops"] = Peak.Gflops;
        json["copy_gbps"] = Peak.CopyGBps;
        json["unet_step_gflop"] = Step.Flops / 1e9;
        json["unet_step_ms"] = Step.Milliseconds;
        json["steps_per_s"] = 1000 / Step.Milliseconds;
        json["unet_step_gflops"] = Step.Gflops;
        json["unet_step_share"] = StepShare;
        json["unet_step_cores_used"] = Step.CoresUsed;
        json["sampler_ms"] = SamplerMilliseconds;
        json["noise_ms"] = Sampler.Noise;
        json["unet_step_kinds"] = Kinds(Step);
        json["vae_decode_gflop"] = Decode.Flops / 1e9;
        json["vae_decode_ms"] = Decode.Milliseconds;
        json["vae_decode_gflops"] = Decode.Gflops;
        json["vae_decode_share"] = DecodeShare;
        json["vae_decode_cores_used"] = Decode.CoresUsed;
        json["vae_decode_kinds"] = Kinds(Decode);
        json["peak_rss_bytes"] = Memory.PeakResidentBytes;
        json["arena_bytes"] = ArenaBytes;
        json["pipeline_arena_bytes"] = Memory.ArenaBytes;
        json["peak_device_bytes"] = Memory.DeviceBytes;
        json["load_s"] = Memory.LoadSeconds;
        if (Memory.PictureSeconds is { } seconds)
        {
            json["picture_steps"] = Subject.PictureSteps;
            json["picture_s"] = seconds;
        }

        return json.ToJsonString(Indented);
    }

    private static JsonArray Kinds(ProgramTiming timing) => [.. timing.Kinds.Select(k => new JsonObject
    {
        ["kind"] = k.Kind,
        ["launches"] = k.Launches,
        ["ms"] = k.Milliseconds,
        ["gflops"] = k.Gflops,
    })];

    private void AddKinds(StringBuilder text, string program, ProgramTiming timing)
    {
        var total = timing.Kinds.Sum(k => k.Milliseconds);
        var table = new MarkdownTable($"{program} by kind", "launches", "ms", "of time", "GFLOP/s", "of peak");
        foreach (var kind in timing.Kinds)
        {
            var counts = kind.Flops > 0;
            table.Add(
                kind.Kind, Text(kind.Launches), Milliseconds(kind.Milliseconds), $"{kind.Milliseconds / total:0.0 %}",
                counts ? $"{kind.Gflops:0.0}" : "", counts ? $"{kind.Gflops / Peak.Gflops:0.0 %}" : "");
        }

        table.Add("sum", Text(timing.Launches), Milliseconds(total), "", "", "");
        text.Append(table).AppendLine();
    }

    /// <summary>The bars are set for one model and size; elsewhere the numbers stand alone.</summary>
    private void AddBars(StringBuilder text)
    {
        var counts = Expected is not null && Subject.Pictures == 1;
        var table = new MarkdownTable("bar", "limit", "measured", "");
        if (IsGpu)
        {
            Add(
                "allocated on the device, text to image", $"<= {DeviceBar / 1e9:0.0} GB", $"{Memory.DeviceBytes / 1e9:0.00} GB",
                Memory.DeviceBytes <= DeviceBar);
        }
        else
        {
            Add("UNet step, share of peak", $">= {ShareBar:0 %}", $"{StepShare:0.0 %}", StepShare >= ShareBar);
            Add("VAE decode, share of peak", $">= {ShareBar:0 %}", $"{DecodeShare:0.0 %}", DecodeShare >= ShareBar);
            Add(
                "peak resident set, text to image from fp16 files", $"<= {ResidentBar / 1e9:0.0} GB",
                $"{Memory.PeakResidentBytes / 1e9:0.00} GB", Memory.PeakResidentBytes <= ResidentBar);
        }

        var (sampler, share) = ($"sampler (Euler a), {SamplerMilliseconds:0.00} ms, share of a step", SamplerMilliseconds / Step.Milliseconds);
        if (IsGpu)
        {
            table.Add(sampler, "", $"{share:0.000 %}", "");
            table.Add("noise, drawn while the device takes the step", "", $"{Sampler.Noise:0.00} ms", "");
        }
        else
        {
            Add(sampler, $"<= {SamplerBar:0 %}", $"{share:0.000 %}", share <= SamplerBar);
        }

        Add("UNet's arena", $"<= {ArenaBar / 1e6:0} MB", $"{ArenaBytes / 1e6:0.0} MB", ArenaBytes <= ArenaBar);
        text.Append(table);

        void Add(string bar, string limit, string measured, bool met) =>
            table.Add(bar, counts ? limit : "", measured, counts ? met ? "met" : "missed" : "");
    }

    private static string Text(int number) => $"{number}";

    /// <summary>A GPU's need more digits.</summary>
    private static string Milliseconds(double value) => value < 100 ? $"{value:0.000}" : $"{value:0.0}";
}
