using System.CommandLine;
using StableDiffusion.Ilgpu.Cli.Downloads;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>The options that say which model is meant, and what replaces or completes what it holds.</summary>
internal sealed class ModelOptionSet(CommandContext context)
{
    private static readonly (string Name, PredictionType Type)[] Predictions = [("eps", PredictionType.Epsilon), ("v", PredictionType.V)];

    private readonly Option<string?> model = SharedOptions.Model();
    private readonly Option<string?> cache = SharedOptions.Cache();
    private readonly Option<string?> unet = File("--unet", "UNet from another file, in any naming", "--diffusion-model");
    private readonly Option<string?> textEncoder = File("--text-encoder", "Text encoder from another file, in any naming", "--clip_l");
    private readonly Option<string?> vae = File("--vae", "Autoencoder from another file, in any naming");
    private readonly Option<string?> config = new("--config")
    {
        Description = "Folder in diffusers' layout whose configurations are used; needed for single files of sizes that are not published",
        HelpName = "folder",
    };

    private readonly Option<string?> prediction = SharedOptions.OptionalChoice(
        "--prediction", "What the UNet predicts: eps, v [default: as the model says; 2.x single files: as told from their weights]",
        name => FindPrediction(name));

    public void AddTo(Command command)
    {
        foreach (var option in new[] { model, cache, unet, textEncoder, vae, config, prediction })
        {
            command.Add(option);
        }
    }

    /// <summary>Where pulled models lie.</summary>
    public ModelCache OpenCache(ParseResult parsed) => ModelCache.Open(parsed.GetValue(cache), context.Environment);

    /// <exception cref="StableDiffusionException">A name stands for a model that was not pulled, or the system lacks what models need.</exception>
    public ModelOptions Read(ParseResult parsed)
    {
        Surroundings.Check(context);
        var pulled = OpenCache(parsed);
        var path = Find(model);
        return new ModelOptions
        {
            Model = path,
            Name = path is null ? null : ModelCache.NameOf(path),
            UNet = Find(unet),
            TextEncoder = Find(textEncoder),
            Vae = Find(vae),
            ConfigFolder = Find(config),
            Prediction = parsed.GetValue(prediction) is { } name ? FindPrediction(name) : null,
            KernelCache = pulled.Kernels,
        };

        string? Find(Option<string?> option) => pulled.Find(parsed.GetValue(option));
    }

    private static PredictionType FindPrediction(string name)
    {
        foreach (var known in Predictions)
        {
            if (string.Equals(known.Name, name, StringComparison.OrdinalIgnoreCase))
            {
                return known.Type;
            }
        }

        throw new StableDiffusionException(
            $"unknown prediction \"{name}\": choose one of {string.Join(", ", Predictions.Select(p => p.Name))}");
    }

    private static Option<string?> File(string name, string description, params string[] aliases) =>
        new(name, aliases) { Description = description, HelpName = "file" };
}
