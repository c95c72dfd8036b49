using System.CommandLine;

namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary>
/// <c>start</c>: time from the start of the process to the written picture with the bundled model, as a user sees it: around the whole
/// <c>dotnet run</c>.
/// </summary>
internal static class StartCommand
{
    private const double BarSeconds = 3;

    /// <summary>Variables that say where drivers, and the command itself, keep the kernels that they have compiled.</summary>
    private static readonly string[] KernelCaches = ["POCL_CACHE_DIR", "CUDA_CACHE_PATH", "XDG_CACHE_HOME"];

    public static Command Create()
    {
        var (device, runs) = (SharedOptions.Device(), SharedOptions.Runs());
        var cold = new Option<bool>("--cold") { Description = "Empty the caches of compiled kernels before each run (PoCL's or CUDA's, and the command's own)" };
        var command = new Command("start", "Time the command line with the bundled model, from start to written picture (build it first).")
        {
            device, runs, cold,
        };
        command.SetAction(parsed => Run(ComputeDevice.Find(parsed.GetValue(device)!), parsed.GetValue(runs), parsed.GetValue(cold)));
        return command;
    }

    private static void Run(ComputeDevice device, int runs, bool cold)
    {
        var circumstances = Circumstances.Collect(device);
        SharedOptions.Progress("the machine's peak");
        var peak = MachinePeak.Measure();
        var folder = Directory.CreateTempSubdirectory("sdilgpu-start-");
        try
        {
            // The first run warms the system's file cache and does not count.
            SharedOptions.Progress($"{runs + 1} runs");
            ChildProcess[] timed = [.. Enumerable.Range(0, runs + 1)
                .Select(i => RunOnce(device, Path.Combine(folder.FullName, $"{i}.png"), cold ? Path.Combine(folder.FullName, $"cache{i}") : null))
                .Skip(1)];
            Print(circumstances, peak, timed, cold);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    private static ChildProcess RunOnce(ComputeDevice device, string picture, string? cache)
    {
        Dictionary<string, string> environment = [];
        if (cache is not null)
        {
            Directory.CreateDirectory(cache);
            foreach (var variable in KernelCaches)
            {
                environment.Add(variable, cache);
            }
        }

        string[] arguments =
        [
            "run", "-c", "Release", "--no-build", "--project", "src/StableDiffusion.Ilgpu.Cli", "--",
            "txt2img", "-p", "a red apple", "--device", device.Id, "-v", "-o", picture,
        ];
        var child = ChildProcess.Run("dotnet", arguments, Repository.Root, environment).Succeeded("sdilgpu txt2img");
        return File.Exists(picture) ? child : throw new StableDiffusionException($"{picture} was not written: {child.Output}");
    }

    private static void Print(Circumstances circumstances, MachinePeak peak, ChildProcess[] timed, bool cold)
    {
        var seconds = Median.Of(timed.Select(t => t.Time.TotalSeconds));
        foreach (var line in circumstances.Lines())
        {
            Console.Out.WriteLine($"- {line}");
        }

        Console.Out.WriteLine("- sizes: bundled model, its own size and default steps" + (cold ? "; the caches of kernels empty before each run" : ""));
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
