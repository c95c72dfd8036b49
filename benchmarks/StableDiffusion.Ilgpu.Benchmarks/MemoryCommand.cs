using System.CommandLine;
using System.Diagnostics;
using System.Text.Json;

namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary><c>memory</c>: the child process of <see cref="MemoryUse.Measure"/>; prints what it measured as JSON.</summary>
internal static class MemoryCommand
{
    public const string Name = "memory";

    public static Command Create()
    {
        var folder = new Argument<string>("folder");
        var (size, device, pictures, offload) = (SharedOptions.Size(), SharedOptions.Device(), SharedOptions.Pictures(), SharedOptions.Offload());
        var steps = new Option<int>("--steps") { DefaultValueFactory = _ => 1 };
        var command = new Command(Name, "Load a model, make a batch of pictures and print the memory that it took.")
        {
            folder, size, device, pictures, steps, offload,
        };
        command.Hidden = true;
        command.SetAction(parsed =>
        {
            var request = new GenerationRequest
            {
                Prompt = "a red apple",
                Width = parsed.GetValue(size),
                Height = parsed.GetValue(size),
                Steps = parsed.GetValue(steps),
                BatchCount = parsed.GetValue(pictures),
                BatchSize = parsed.GetValue(pictures),
            };
            var start = Stopwatch.GetTimestamp();
            using var pipeline = StableDiffusionPipeline.Load(
                new ModelOptions { Model = parsed.GetValue(folder), Offload = parsed.GetValue(offload), KernelCache = BenchmarkModel.KernelFolder },
                ComputeDevice.Find(parsed.GetValue(device)!));
            var load = Stopwatch.GetElapsedTime(start).TotalSeconds;
            pipeline.Generate(request);
            var (resident, allocated) = (MemoryUse.PeakOfThisProcess(), pipeline.PeakDeviceBytes);
            double? seconds = null;
            if (request.Steps > 1)
            {
                start = Stopwatch.GetTimestamp();
                pipeline.Generate(request);
                seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            }

            Console.Out.WriteLine(JsonSerializer.Serialize(new MemoryUse(resident, pipeline.ArenaBytes, allocated, load, seconds)));
        });
        return command;
    }
}
