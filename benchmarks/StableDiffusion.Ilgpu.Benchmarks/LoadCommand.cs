using System.CommandLine;

namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary><c>load</c>: loading a model from fp16 files beside reading the same files once.</summary>
internal static class LoadCommand
{
    public static Command Create()
    {
        var (name, runs) = (SharedOptions.Model(), SharedOptions.Runs());
        var folder = new Option<string?>("--folder")
        {
            Description = "Where the model's files are, or are written [default: in the system's temporary folder]",
        };
        var json = new Option<string?>("--json") { Description = "File for the results as JSON" };
        var command = new Command("load", "Time loading a model from fp16 files beside reading the files once, and measure its memory.")
        {
            name, runs, folder, json,
        };
        command.SetAction(parsed =>
        {
            var report = Measure(parsed.GetValue(name)!, parsed.GetValue(folder), parsed.GetValue(runs));
            Console.Out.Write(report.ToMarkdown());
            SharedOptions.Save(parsed.GetValue(json), report.ToJson() + "\n");
        });
        return command;
    }

    private static LoadReport Measure(string name, string? folder, int runs)
    {
        var circumstances = Circumstances.Collect(ComputeDevice.Default);
        SharedOptions.Progress("the machine's peak");
        var peak = MachinePeak.Measure();
        var model = folder ?? MemoryUse.FolderOf(name);
        MemoryUse.WriteModel(name, model);
        string[] files = [.. Directory.EnumerateFiles(model, "*.safetensors", SearchOption.AllDirectories).Order(StringComparer.Ordinal)];
        var (one, all, kept, large) = (new List<double>(), new List<double>(), new List<double>(), new List<double>());
        var (weights, loads) = (new List<LoadProbe>(), new List<LoadProbe>());

        // One after the other in turn, so that a slow minute of the machine slows all of them; the first round does not count.
        for (var run = 0; run <= runs; run++)
        {
            SharedOptions.Progress(run == 0 ? "a first round" : $"round {run} of {runs}");
            one.Add(FileReading.Seconds(files, 1));
            all.Add(FileReading.Seconds(files, Environment.ProcessorCount));
            kept.Add(AfterTheSame(() => FileReading.SecondsIntoMemory(files, largePages: false)));
            large.Add(AfterTheSame(() => FileReading.SecondsIntoMemory(files, largePages: true)));
            weights.Add(AfterTheSame(() => LoadProbe.Run(model, weightsOnly: true)));
            loads.Add(AfterTheSame(() => LoadProbe.Run(model, weightsOnly: false)));
        }

        return new LoadReport(
            name, runs, circumstances, peak, files.Sum(f => new FileInfo(f).Length), [.. one.Skip(1)], [.. all.Skip(1)],
            [.. kept.Skip(1)], [.. large.Skip(1)], [.. weights.Skip(1)], [.. loads.Skip(1)]);

        // A virtual machine gives memory that is free back to its host, and getting it again takes longer than anything measured here: a
        // process that had as much just before gets it for each.
        TResult AfterTheSame<TResult>(Func<TResult> measure)
        {
            _ = FileReading.SecondsIntoMemory(files, largePages: true);
            return measure();
        }
    }
}
