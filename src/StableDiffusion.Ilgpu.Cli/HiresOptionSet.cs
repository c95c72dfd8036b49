using System.CommandLine;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>The options of a second pass in a larger size, by the names and with the defaults of stable-diffusion.cpp.</summary>
internal sealed class HiresOptionSet
{
    private static readonly (string Name, HiresUpscaler Upscaler)[] Upscalers =
    [
        ("latent", HiresUpscaler.Latent), ("latent-nearest", HiresUpscaler.LatentNearest), ("lanczos", HiresUpscaler.Lanczos),
        ("nearest", HiresUpscaler.Nearest),
    ];

    /// <summary>The common filter for pixels.</summary>
    private const string Pixel = "pixel";

    private readonly Option<bool> hires = new("--hires") { Description = "Enlarge what was drawn and draw again in that size" };
    private readonly Option<double?> scale = SharedOptions.Number<double>("--hires-scale", "How many times as wide and high");
    private readonly Option<string> upscaler = SharedOptions.Choice(
        "--hires-upscaler", $"What is enlarged, and how: {UpscalerNames}; the latter two enlarge the picture, \"{Pixel}\" is lanczos", "latent", name => Find(name));

    private readonly Option<int?> steps = SharedOptions.Number<int>(
        "--hires-steps", "Steps that the second pass takes, whatever its strength [default: --steps]");

    private readonly Option<double?> strength = SharedOptions.Number<double>(
        "--hires-denoising-strength", "Noise level that the second pass begins at, above 0, up to 1");

    public HiresOptionSet()
    {
        var defaults = new HiresOptions();
        scale.DefaultValueFactory = _ => defaults.Scale;
        strength.DefaultValueFactory = _ => defaults.DenoisingStrength;
    }

    /// <param name="command">Gets the options.</param>
    /// <param name="from">The option of a picture that may have had a second pass.</param>
    public void AddTo(Command command, Option from)
    {
        foreach (var option in new Option[] { hires, scale, upscaler, steps, strength })
        {
            command.Add(option);
        }

        command.RequireFor([scale, upscaler, steps, strength], hires, from);
    }

    /// <summary>Null where none is asked for.</summary>
    /// <param name="parsed">The options.</param>
    /// <param name="repeated">A picture's second pass, which asks for one too and sets what no option does; null for none.</param>
    public HiresOptions? Read(ParseResult parsed, HiresOptions? repeated)
    {
        if (!(parsed.IsGiven(hires) ? parsed.GetValue(hires) : repeated is not null))
        {
            return null;
        }

        repeated ??= new HiresOptions();
        return new HiresOptions
        {
            Scale = parsed.IsGiven(scale) ? parsed.GetValue(scale)!.Value : repeated.Scale,
            Upscaler = parsed.IsGiven(upscaler) ? Find(parsed.GetValue(upscaler)!) : repeated.Upscaler,
            Steps = parsed.GetValue(steps) ?? repeated.Steps,
            DenoisingStrength = parsed.IsGiven(strength) ? parsed.GetValue(strength)!.Value : repeated.DenoisingStrength,
        };
    }

    private static string UpscalerNames => string.Join(", ", Upscalers.Select(u => u.Name));

    private static HiresUpscaler Find(string name)
    {
        bool Is(string known) => string.Equals(known, name, StringComparison.OrdinalIgnoreCase);
        var found = Upscalers.FirstOrDefault(u => Is(u.Name) || Is(HiresPass.NameOf(u.Upscaler)));
        return found.Name is not null ? found.Upscaler : Is(Pixel) ? HiresUpscaler.Lanczos
            : throw new StableDiffusionException($"unknown upscaler \"{name}\": choose one of {UpscalerNames}, {Pixel}");
    }
}
