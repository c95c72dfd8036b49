using System.CommandLine;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary><c>sdilgpu inspect</c>: what a model consists of and, with <c>--plan</c>, what it is compiled to.</summary>
internal static class InspectCommand
{
    public static Command Create(CommandContext context)
    {
        var models = new ModelOptionSet(context);
        var additions = new ModelAdditionSet();
        var plan = new Option<bool>("--plan") { Description = "Compile the model, run it once and print every launch with its time" };
        var width = SharedOptions.Width();
        var height = SharedOptions.Height();
        var device = SharedOptions.Device();
        var verbose = SharedOptions.Verbose();
        var command = new Command("inspect", "Print a model's components and its compiled program.")
        {
            plan, width, height, device, verbose,
        };
        models.AddTo(command);
        additions.AddFilesTo(command);
        command.SetAction(parsed =>
        {
            GenerationRequest.CheckSize("width", parsed.GetValue(width));
            GenerationRequest.CheckSize("height", parsed.GetValue(height));
            var model = additions.Read(parsed, models.Read(parsed), models.OpenCache(parsed));
            PrintModel(context, StableDiffusionPipeline.Inspect(model), parsed.GetValue(verbose));
            if (parsed.GetValue(plan))
            {
                using var pipeline = StableDiffusionPipeline.Load(
                    model, ComputeDevice.Find(parsed.GetValue(device)!), context.Cancellation);
                PrintPlan(
                    context, pipeline, parsed.GetValue(width) ?? pipeline.NativeSize, parsed.GetValue(height) ?? pipeline.NativeSize);
            }
        });
        return command;
    }

    private static void PrintModel(CommandContext context, ModelInfo model, bool verbosely)
    {
        context.WriteLine($"{model.Name}: {model.Variant}");
        context.WriteLine($"layout: {model.Layout}");
        context.WriteLine(
            model.Sha256 is { } hash ? $"SHA-256: {hash}, model hash: {model.ShortHash}" : "SHA-256: none (no single file holds the UNet)");
        if (model.Ignored.Count > 0)
        {
            context.WriteLine($"not used: {string.Join(", ", model.Ignored)}");
        }

        ModelAdditionSet.Print(model.Loras, context.WriteLine, verbosely);
        var components = model.Components;
        var table = Tables.Create("Component", "Class", "Sizes", ">Tensors", ">Parameters", "Stored as");
        foreach (var component in components)
        {
            table.AddTextRow(
                component.Name, component.Class, component.Summary, Count(component.Tensors), Count(component.Parameters), component.StoredAs);
        }

        table.AddTextRow(
            "total", "", "", Count(components.Sum(c => (long)c.Tensors)), Count(components.Sum(c => c.Parameters)), "");
        context.WriteTable(table);
    }

    private static void PrintPlan(CommandContext context, StableDiffusionPipeline pipeline, int width, int height)
    {
        foreach (var program in pipeline.Plan(width, height, timed: true, context.Cancellation).GroupBy(r => r.Program))
        {
            var total = program.Sum(r => r.Milliseconds ?? 0);
            context.WriteLine($"{program.Key} at {width}x{height} on {pipeline.Device}: {program.Count()} launches, {total:0.00} ms");
            var table = Tables.Create("Path", "Op", "Shape", "Kernel", ">Offset", ">Bytes", ">ms");
            foreach (var row in program)
            {
                table.AddTextRow(
                    row.Path, row.Op, row.Shape, row.Kernel, $"{row.Offset}", $"{row.Bytes}", row.Milliseconds is { } ms ? $"{ms:0.000}" : "");
            }

            context.WriteTable(table);
        }
    }

    private static string Count(long value) => $"{value:#,0}";
}
