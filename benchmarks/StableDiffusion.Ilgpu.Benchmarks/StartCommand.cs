using System.CommandLine;

namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary>
/// <c>start</c>: time from the start of the process to the written picture with the bundled model, as a user sees it: around the whole
/// <c>dotnet run</c>.
/// </summary>
internal static class StartCommand
{
    private const double BarSeconds = 5;

    public static Command Create()
    {
        var runs = SharedOptions.Runs();
        var command = new Command("start", "Time the command line with the bundled model, from start to written picture (build it first).")
        {
            runs,
        };
        command.SetAction(parsed => Run(parsed.GetValue(runs)));
        return command;
    }

    private static void Run(int runs)
    {
        var circumstances = Circumstances.Collect(ComputeDevice.Default);
        SharedOptions.Progress("the machine's peak");
        var peak = MachinePeak.Measure();
        var folder = Directory.CreateTempSubdirectory("sdilgpu-start-");
        try
        {
            // The first run warms the system's file cache and does not count.
            SharedOptions.Progress($"{runs + 1} runs");
            ChildProcess[] timed = [.. Enumerable.Range(0, runs + 1)
                .Select(i => RunOnce(Path.Combine(folder.FullName, $"{i}.png")))
                .Skip(1)];
            Print(circumstances, peak, timed);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static ChildProcess RunOnce(string picture)
    {
        string[] arguments =
        [
            "run", "-c", "Release", "--no-build", "--project", "src/StableDiffusion.Ilgpu.Cli", "--",
            "txt2img", "-p", "a red apple", "-v", "-o", picture,
        ];
        var child = ChildProcess.Run("dotnet", arguments, Repository.Root).Succeeded("sdilgpu txt2img");
        return File.Exists(picture) ? child : throw new StableDiffusionException($"{picture} was not written: {child.Output}");
    }

    private static void Print(Circumstances circumstances, MachinePeak peak, ChildProcess[] timed)
    {
        var seconds = Median.Of(timed.Select(t => t.Time.TotalSeconds));
        foreach (var line in circumstances.Lines())
        {
            Console.Out.WriteLine($"- {line}");
        }

        Console.Out.WriteLine("- sizes: bundled model, its own size and default steps");
        Console.Out.WriteLine($"- FMA peak: {peak.Gflops:0.0} GFLOP/s; copy: {peak.CopyGBps:0.0} GB/s");
        Console.Out.WriteLine();
        var all = string.Join(", ", timed.Select(t => $"{t.Time.TotalSeconds:0.00}"));
        Console.Out.WriteLine(
            $"start to written picture: {seconds:0.00} s (median of {all}); "
            + $"bar <= {BarSeconds:0} s on two cores: {(seconds <= BarSeconds ? "met" : "missed")}");
        Console.Out.WriteLine("what the run nearest to the median printed:");
        Console.Out.WriteLine(timed.MinBy(t => Math.Abs(t.Time.TotalSeconds - seconds))!.Output.TrimEnd());
    }
}
