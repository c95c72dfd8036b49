using System.CommandLine;
using StableDiffusion.Ilgpu.Cli.Downloads;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary><c>sdilgpu inspect</c>: what a model consists of and, with <c>--plan</c>, what it is compiled to.</summary>
internal static class InspectCommand
{
    public static Command Create(CommandContext context)
    {
        var model = SharedOptions.Model();
        var cache = SharedOptions.Cache();
        var plan = new Option<bool>("--plan") { Description = "Compile the model, run it once and print every launch with its time" };
        var width = SharedOptions.Width();
        var height = SharedOptions.Height();
        var device = SharedOptions.Device();
        var command = new Command("inspect", "Print a model's components and its compiled program.")
        {
            model, cache, plan, width, height, device, SharedOptions.Verbose(),
        };
        command.SetAction(parsed =>
        {
            GenerationRequest.CheckSize("width", parsed.GetValue(width));
            GenerationRequest.CheckSize("height", parsed.GetValue(height));
            var name = ModelCache.Open(parsed.GetValue(cache), context.Environment).Find(parsed.GetValue(model));
            PrintComponents(context, StableDiffusionPipeline.Inspect(name));
            if (parsed.GetValue(plan))
            {
                using var pipeline = StableDiffusionPipeline.Load(
                    name, ComputeDevice.Find(parsed.GetValue(device)!), context.Cancellation);
                PrintPlan(
                    context, pipeline, parsed.GetValue(width) ?? pipeline.NativeSize, parsed.GetValue(height) ?? pipeline.NativeSize);
            }
        });
        return command;
    }

    private static void PrintComponents(CommandContext context, IReadOnlyList<ComponentInfo> components)
    {
        var table = Tables.Create("Component", "Class", "Sizes", ">Tensors", ">Parameters", "Stored as");
        foreach (var component in components)
        {
            table.AddTextRow(
                component.Name, component.Class, component.Summary, Count(component.Tensors), Count(component.Parameters), component.StoredAs);
        }

        table.AddTextRow(
            "total", "", "", Count(components.Sum(c => (long)c.Tensors)), Count(components.Sum(c => c.Parameters)), "");
        context.CreateConsole().Write(table);
    }

    private static void PrintPlan(CommandContext context, StableDiffusionPipeline pipeline, int width, int height)
    {
        var console = context.CreateConsole();
        foreach (var program in pipeline.Plan(width, height, timed: true).GroupBy(r => r.Program))
        {
            var total = program.Sum(r => r.Milliseconds ?? 0);
            context.Output.WriteLine($"{program.Key} at {width}x{height} on {pipeline.Device}: {program.Count()} launches, {total:0.00} ms");
            var table = Tables.Create("Path", "Op", "Shape", "Kernel", ">Offset", ">Bytes", ">ms");
            foreach (var row in program)
            {
                table.AddTextRow(
                    row.Path, row.Op, row.Shape, row.Kernel, $"{row.Offset}", $"{row.Bytes}", row.Milliseconds is { } ms ? $"{ms:0.000}" : "");
            }

            console.Write(table);
        }
    }

    private static string Count(long value) => $"{value:#,0}";
}
