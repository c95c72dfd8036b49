using System.CommandLine;
using StableDiffusion.Ilgpu.Benchmarks.Serving;

namespace StableDiffusion.Ilgpu.Benchmarks.Compare;

/// <summary><c>compare</c>: every backend and every peer that is present, side by side in turns.</summary>
internal static class CompareCommand
{
    public static Command Create()
    {
        var (name, size, runs) = (SharedOptions.Model(), SharedOptions.Size(), SharedOptions.Runs());
        var devices = new Option<string[]>("--device") { Description = "Where to run, as sdilgpu names it; can be repeated [default: every device]" };
        var cores = new Option<string>("--cores")
        {
            Description = "Numbers of the processor's cores to measure the scaling at",
            DefaultValueFactory = _ => string.Join(',', CoreCounts.Default(Environment.ProcessorCount)),
        };
        var peers = new Option<string[]>("--peer") { Description = "A command to compare with, as NAME=COMMAND; can be repeated" };
        var output = new Option<string>("--output")
        {
            Description = "Folder for the results as Markdown, JSON and chart",
            DefaultValueFactory = _ => Path.Combine(Repository.Root, "benchmarks", "results"),
        };
        var command = new Command("compare", "Compare every backend and every peer that is present, in turns, and write the results.")
        {
            name, size, runs, devices, cores, peers, output,
        };
        command.SetAction(parsed =>
        {
            var (model, pixels) = (parsed.GetValue(name)!, parsed.GetValue(size));
            GenerationRequest.CheckSize("size", pixels);
            ComputeDevice[] chosen = parsed.GetValue(devices) is { Length: > 0 } named
                ? [.. named.Select(ComputeDevice.Find).Distinct()]
                : [.. ComputeDevice.All];
            var commands = parsed.GetValue(peers)!.Select(p => CommandContender.Parse(p, pixels)).ToArray();
            var counts = CoreCounts.Parse(parsed.GetValue(cores)!, Environment.ProcessorCount);
            var report = Measure(new Entrants(model, pixels, chosen, counts, commands), parsed.GetValue(runs));
            Console.Out.Write(report.ToMarkdown());
            report.Save(parsed.GetValue(output)!);
        });
        return command;
    }

    private static ComparisonReport Measure(Entrants entrants, int runs)
    {
        var circumstances = Circumstances.Collect(entrants.Devices[0]);
        SharedOptions.Progress("the machine's peak");
        var before = MachinePeak.Measure();
        using var field = Field.Open(entrants);
        var times = Rounds.Run([.. field.Entries.Select(e => e.Contender)], runs, field.Fail);
        var results = field.Results(times);
        SharedOptions.Progress("the machine's peak");
        return ComparisonReport.Create(
            entrants.Model, entrants.Size, runs, circumstances, before, MachinePeak.Measure(), field.Gflop, results, field.LeftOut);
    }
}
