using System.CommandLine;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary><c>sdilgpu convert</c>: writes a model in either layout.</summary>
internal static class ConvertCommand
{
    private static readonly (string Name, TensorType Type)[] Types =
    [
        ("fp16", TensorType.F16), ("fp32", TensorType.F32), ("bf16", TensorType.BF16), ("f16", TensorType.F16), ("f32", TensorType.F32),
    ];

    public static Command Create(CommandContext context)
    {
        var models = new ModelOptionSet(context);
        var additions = new ModelAdditionSet();
        var output = new Option<string>("--output", "-o")
        {
            Description = "A name that ends in .safetensors becomes a single file with the original names, any other one a folder in "
                + "diffusers' layout",
            HelpName = "path",
            Required = true,
        };
        var type = SharedOptions.OptionalChoice(
            "--type", "Type of the written weights: fp16, fp32, bf16 [default: as stored]", name => FindType(name));
        var verbose = SharedOptions.Verbose();
        var command = new Command("convert", "Write a model in another layout or type.") { output, type, verbose };
        models.AddTo(command);
        additions.AddLorasTo(command);
        command.SetAction(parsed =>
        {
            var path = parsed.GetValue(output)!;
            ModelWriter.CheckOutput(path);
            var loras = StableDiffusionPipeline.Convert(
                additions.Read(parsed, models.Read(parsed), models.OpenCache(parsed)), path,
                parsed.GetValue(type) is { } name ? FindType(name) : null, context.Cancellation);
            ModelAdditionSet.Print(loras, context.WriteLine, parsed.GetValue(verbose));
            context.WriteLine(path);
        });
        return command;
    }

    private static TensorType FindType(string name)
    {
        foreach (var known in Types)
        {
            if (string.Equals(known.Name, name, StringComparison.OrdinalIgnoreCase))
            {
                return known.Type;
            }
        }

        throw new StableDiffusionException($"unknown type \"{name}\": choose one of fp16, fp32, bf16");
    }
}
