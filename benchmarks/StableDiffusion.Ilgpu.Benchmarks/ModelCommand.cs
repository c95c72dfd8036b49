using System.CommandLine;
using StableDiffusion.Ilgpu.Benchmarks.Serving;

namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary><c>model</c>: speed and memory of a whole model, and the machine's own peak, in one run.</summary>
internal static class ModelCommand
{
    private const int SamplerSteps = 20;

    public static Command Create()
    {
        var (name, size, device, runs) = (SharedOptions.Model(), SharedOptions.Size(), SharedOptions.Device(), SharedOptions.Runs());
        var json = new Option<string?>("--json") { Description = "File for the results as JSON" };
        var markdown = new Option<string?>("--markdown") { Description = "File for the results as they are printed" };
        var folder = new Option<string?>("--folder")
        {
            Description = "Where the model is written for the memory measurement, and reused [default: in the system's temporary folder]",
        };
        var memoryOnly = new Option<bool>("--memory-only") { Description = "Measure nothing but the memory of a generation" };
        var command = new Command("model", "Time a model's UNet step and VAE decode, and measure a generation's memory.")
        {
            name, size, device, runs, json, markdown, folder, memoryOnly,
        };
        command.SetAction(parsed =>
        {
            if (parsed.GetValue(memoryOnly))
            {
                PrintMemory(
                    parsed.GetValue(name)!, parsed.GetValue(size), ComputeDevice.Find(parsed.GetValue(device)!), parsed.GetValue(folder));
                return;
            }

            var report = Measure(
                parsed.GetValue(name)!, parsed.GetValue(size), ComputeDevice.Find(parsed.GetValue(device)!), parsed.GetValue(runs),
                parsed.GetValue(folder));
            report.CheckWork();
            Console.Out.Write(report.ToMarkdown());
            SharedOptions.Save(parsed.GetValue(json), report.ToJson() + "\n");
            SharedOptions.Save(parsed.GetValue(markdown), report.ToMarkdown());
        });
        return command;
    }

    private static ModelReport Measure(string name, int size, ComputeDevice device, int runs, string? folder)
    {
        var circumstances = Circumstances.Collect(device);
        SharedOptions.Progress("the machine's peak");
        var before = MachinePeak.Measure();
        ProgramTiming step, decode;
        double sampler;
        long arena;
        SharedOptions.Progress($"loading {name}");
        using (var model = BenchmarkModel.Open(name, size, device))
        {
            arena = model.UNet.ArenaBytes;
            SharedOptions.Progress("UNet step");
            step = ProgramTiming.Measure(model.PrepareStep(), model.Session, runs);
            SharedOptions.Progress("sampler");
            sampler = Median.Of(model.TimeSampler(Samplers.EulerAncestral, SamplerSteps));
            SharedOptions.Progress("VAE decode");
            decode = ProgramTiming.Measure(model.PrepareDecode(), model.Session, runs);
        }

        SharedOptions.Progress("the machine's peak");
        var after = MachinePeak.Measure();
        SharedOptions.Progress("memory of a generation");
        return new ModelReport(name, size, runs, circumstances, before, after, step, decode, sampler, arena,
            MemoryUse.Measure(name, size, device, folder));
    }

    private static void PrintMemory(string name, int size, ComputeDevice device, string? folder)
    {
        foreach (var line in Circumstances.Collect(device).Lines())
        {
            Console.Out.WriteLine($"- {line}");
        }

        var memory = MemoryUse.Measure(name, size, device, folder);
        Console.Out.WriteLine(
            $"{name}, {size}x{size}, one step with guidance (UNet batch {BenchmarkInputs.Items}) and decode, from fp16 files: "
            + $"peak resident set {memory.PeakResidentBytes / 1e9:0.00} GB, arena {memory.ArenaBytes / 1e6:0.0} MB");
    }
}
