using System.CommandLine;
using System.Text.Json;

namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary><c>memory</c>: the child process of <see cref="MemoryUse.Measure"/>; prints its own peak as JSON.</summary>
internal static class MemoryCommand
{
    public const string Name = "memory";

    public static Command Create()
    {
        var folder = new Argument<string>("folder");
        var (size, device) = (SharedOptions.Size(), SharedOptions.Device());
        var steps = new Option<int>("--steps") { DefaultValueFactory = _ => 1 };
        var command = new Command(Name, "Load a model, make one picture and print the memory that it took.") { folder, size, device, steps };
        command.Hidden = true;
        command.SetAction(parsed =>
        {
            using var pipeline = StableDiffusionPipeline.Load(parsed.GetValue(folder)!, ComputeDevice.Find(parsed.GetValue(device)!));
            pipeline.Generate(new GenerationRequest
            {
                Prompt = "a red apple",
                Width = parsed.GetValue(size),
                Height = parsed.GetValue(size),
                Steps = parsed.GetValue(steps),
            });
            Console.Out.WriteLine(JsonSerializer.Serialize(new MemoryUse(MemoryUse.PeakOfThisProcess(), pipeline.ArenaBytes)));
        });
        return command;
    }
}
