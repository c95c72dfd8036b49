using System.CommandLine;
using System.Text.Json;
using System.Text.Json.Nodes;
using StableDiffusion.Ilgpu.Imaging;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary><c>sdilgpu compare</c>: the same model and prompt on several devices, with differences and times.</summary>
internal static class CompareCommand
{
    private const int DefaultSteps = 10;

    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    public static Command Create(CommandContext context)
    {
        var models = new ModelOptionSet(context);
        var additions = new ModelAdditionSet();
        var devices = new Option<string?>("--devices")
        {
            Description = "Devices to compare, the first with all others, for example cpu,opencl [default: every device of this machine]",
            HelpName = "names",
        };
        var prompt = new Option<string>("--prompt", "-p") { Description = "The prompt", HelpName = "text", DefaultValueFactory = _ => "a red apple" };
        var seed = SharedOptions.Number<long>("--seed", "Seed [default: 42]", "-s");
        var steps = SharedOptions.Number<int>("--steps", $"Steps of the picture [default: {DefaultSteps}]");
        var (width, height) = (SharedOptions.Width(), SharedOptions.Height());
        var offload = SharedOptions.Offload();
        var json = new Option<string?>("--json") { Description = "File for the results as JSON", HelpName = "file" };
        var command = new Command("compare", "Run a model on several devices and compare results and times.")
        {
            devices, prompt, seed, steps, width, height, offload, json, SharedOptions.Verbose(),
        };
        models.AddTo(command);
        additions.AddFilesTo(command);
        command.SetAction(parsed =>
        {
            var request = new GenerationRequest
            {
                Prompt = parsed.GetValue(prompt)!,
                Seed = parsed.GetValue(seed) ?? 42,
                Steps = parsed.GetValue(steps) ?? DefaultSteps,
                Width = parsed.GetValue(width),
                Height = parsed.GetValue(height),
            };
            request.Validate();
            var targets = Targets(parsed.GetValue(devices));
            var file = parsed.GetValue(json);
            if (file is not null)
            {
                // Before anything is computed, so that minutes of work are not lost to a missing folder.
                PngWriter.CheckWritable(file);
            }

            var model = additions.Read(parsed, models.Read(parsed) with { Offload = parsed.GetValue(offload) }, models.OpenCache(parsed));
            ComparedComponent[] rows =
            [
                .. DeviceComparison.Run(model, targets, request, d => context.Error.WriteLine($"… {d}"), context.Cancellation),
            ];
            Print(context, rows);
            if (file is not null)
            {
                PngWriter.Replace(file, JsonSerializer.SerializeToUtf8Bytes(ToJson(request, rows), Indented));
            }
        });
        return command;
    }

    /// <exception cref="StableDiffusionException">There is no such device, or only one.</exception>
    private static ComputeDevice[] Targets(string? names)
    {
        ComputeDevice[] devices = names is null ? [.. ComputeDevice.All]
            : [.. names.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Select(ComputeDevice.Find)];
        return devices.Length > 1 ? devices
            : throw new StableDiffusionException(
                $"--devices '{names}': two devices at least are compared; valid: {string.Join(", ", ComputeDevice.All.Select(d => d.Id))}");
    }

    private static void Print(CommandContext context, ComparedComponent[] rows)
    {
        var table = Tables.Create("Device", "Component", ">Relative L2", ">PSNR", ">Max difference", ">Seconds", ">Ratio");
        foreach (var row in rows)
        {
            table.AddTextRow(
                row.Device.Id, row.Component, row.RelativeL2 is { } l2 ? $"{l2:0.0e+0}" : "",
                row.Psnr is { } psnr ? (double.IsInfinity(psnr) ? "equal" : $"{psnr:0.0} dB") : "",
                row.MaxDifference is { } difference ? $"{difference}/255" : "", $"{row.Seconds:0.000}", $"{row.Ratio:0.00}");
        }

        context.WriteTable(table);
        context.WriteLine($"compared with {rows[0].Device}; ratio: seconds over its seconds");
    }

    /// <summary>JSON has no infinite numbers and none that are none, as a device gives that computes wrongly: they are null.</summary>
    internal static JsonObject ToJson(GenerationRequest request, ComparedComponent[] rows) => new()
    {
        ["prompt"] = request.Prompt,
        ["seed"] = request.Seed,
        ["steps"] = request.Steps,
        ["reference"] = rows[0].Device.Id,
        ["results"] = new JsonArray([.. rows.Select(r => (JsonNode)new JsonObject
        {
            ["device"] = r.Device.Id,
            ["deviceName"] = r.Device.Name,
            ["component"] = r.Component,
            ["relativeL2"] = Finite(r.RelativeL2),
            ["psnr"] = Finite(r.Psnr),
            ["maxDifference"] = r.MaxDifference,
            ["seconds"] = r.Seconds,
            ["ratio"] = r.Ratio,
        })]),
    };

    private static double? Finite(double? value) => value is { } number && double.IsFinite(number) ? number : null;
}
