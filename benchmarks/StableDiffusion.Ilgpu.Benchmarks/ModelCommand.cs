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
        var (pictures, offload) = (SharedOptions.Pictures(), SharedOptions.Offload());
        var steps = new Option<int>("--picture-steps")
        {
            Description = "Steps of the pictures whose memory is measured; with more than one their time is taken as well",
            DefaultValueFactory = _ => 1,
        };
        var json = new Option<string?>("--json") { Description = "File for the results as JSON" };
        var markdown = new Option<string?>("--markdown") { Description = "File for the results as they are printed" };
        var folder = new Option<string?>("--folder")
        {
            Description = "Where the model is written for the memory measurement, and reused [default: in the system's temporary folder]",
        };
        var memoryOnly = new Option<bool>("--memory-only") { Description = "Measure nothing but the memory of a generation" };
        var command = new Command("model", "Time a model's UNet step and VAE decode, and measure a generation's memory.")
        {
            name, size, device, pictures, runs, steps, json, markdown, folder, offload, memoryOnly,
        };
        command.SetAction(parsed =>
        {
            var subject = new ModelSubject(
                parsed.GetValue(name)!, parsed.GetValue(size), ComputeDevice.Find(parsed.GetValue(device)!), parsed.GetValue(pictures),
                parsed.GetValue(steps), parsed.GetValue(offload));
            if (parsed.GetValue(memoryOnly))
            {
                PrintMemory(subject, parsed.GetValue(folder));
                return;
            }

            var report = Measure(subject, parsed.GetValue(runs), parsed.GetValue(folder));
            report.CheckWork();
            Console.Out.Write(report.ToMarkdown());
            SharedOptions.Save(parsed.GetValue(json), report.ToJson() + "\n");
            SharedOptions.Save(parsed.GetValue(markdown), report.ToMarkdown());
        });
        return command;
    }

    private static ModelReport Measure(ModelSubject subject, int runs, string? folder)
    {
        var circumstances = Circumstances.Collect(subject.Device);
        SharedOptions.Progress("the machine's peak");
        var before = MachinePeak.Measure(subject.Device);
        ProgramTiming step, decode;
        SamplerTiming sampler;
        long arena;
        SharedOptions.Progress($"loading {subject.Model}");
        using (var model = BenchmarkModel.Open(subject.Model, subject.Size, subject.Device, subject.Pictures))
        {
            arena = model.UNet.ArenaBytes;
            SharedOptions.Progress("UNet step");
            step = ProgramTiming.Measure(model.PrepareStep(), model.Session, runs);
            SharedOptions.Progress("sampler");
            sampler = model.TimeSampler(Samplers.EulerAncestral, SamplerSteps);
            SharedOptions.Progress("VAE decode");
            decode = ProgramTiming.Measure(model.PrepareDecode(), model.Session, runs);
        }

        SharedOptions.Progress("the machine's peak");
        var after = MachinePeak.Measure(subject.Device);
        SharedOptions.Progress("memory of a generation");
        return new ModelReport(subject, runs, circumstances, before, after, step, decode, sampler, arena, MemoryUse.Measure(subject, folder));
    }

    private static void PrintMemory(ModelSubject subject, string? folder)
    {
        foreach (var line in Circumstances.Collect(subject.Device).Lines())
        {
            Console.Out.WriteLine($"- {line}");
        }

        Console.Out.WriteLine($"{subject}, with decode, from fp16 files{(subject.Offload ? ", with offload" : "")}: {MemoryUse.Measure(subject, folder)}");
    }
}
