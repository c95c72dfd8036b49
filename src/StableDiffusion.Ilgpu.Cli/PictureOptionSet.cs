using System.CommandLine;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>The options of a picture to begin with, by the names and with the defaults of stable-diffusion.cpp where it has them.</summary>
internal sealed class PictureOptionSet
{
    private static readonly (string Name, bool Mean)[] Latents = [("sample", false), (PictureSettingsText.MeanLatent, true)];

    private readonly Option<string> image = new("--init-img", "-i")
    {
        Description = "Picture to begin with: PNG, JPEG or WebP",
        HelpName = "file",
        Required = true,
    };

    private readonly Option<double?> strength = SharedOptions.Number<double>(
        "--strength", "How much is drawn anew, 0 to 1: the share of the steps that run");

    private readonly Option<string> resizeMode = SharedOptions.Choice(
        "--resize-mode", $"How a picture of another size is made to fit: {ResizeModeNames}", PictureSettingsText.NameOf(ResizeMode.Crop),
        name => FindResizeMode(name));

    private readonly Option<string?> mask = new("--mask")
    {
        Description = "Picture that is white where to paint anew; where it is black, pixels stay as they are",
        HelpName = "file",
    };

    private readonly Option<int?> maskBlur = SharedOptions.Number<int>("--mask-blur", "Pixels to blur the mask by");
    private readonly Option<bool> invertMask = new("--invert-mask") { Description = "Paint the mask's black parts anew instead" };
    private readonly Option<string> latent = SharedOptions.Choice(
        "--latent", $"What the encoder's distribution gives to begin with: {LatentNames}", "sample", name => FindLatent(name));

    public PictureOptionSet()
    {
        strength.DefaultValueFactory = _ => 0.75;
        maskBlur.DefaultValueFactory = _ => 0;
    }

    /// <summary>The files that are read.</summary>
    public IEnumerable<string> FilesOf(ParseResult parsed) => new[] { parsed.GetValue(image), parsed.GetValue(mask) }.OfType<string>();

    public void AddTo(Command command)
    {
        foreach (var option in new Option[] { image, strength, resizeMode, mask, maskBlur, invertMask, latent })
        {
            command.Add(option);
        }
    }

    /// <summary>The request with the pictures, which are read.</summary>
    /// <param name="parsed">The options.</param>
    /// <param name="request">What else is asked for.</param>
    /// <param name="repeated">Settings that options which are not given take; those of masks only with a mask.</param>
    /// <exception cref="StableDiffusionException">A picture cannot be read.</exception>
    public GenerationRequest Apply(ParseResult parsed, GenerationRequest request, RepeatedSettings? repeated)
    {
        var masked = parsed.GetValue(mask) is null ? null : repeated;
        return request with
        {
            InitImage = InputImage.Load(parsed.GetValue(image)!),
            Strength = (parsed.IsGiven(strength) ? null : repeated?.Strength) ?? parsed.GetValue(strength)!.Value,
            ResizeMode = (parsed.IsGiven(resizeMode) ? null : repeated?.ResizeMode) ?? FindResizeMode(parsed.GetValue(resizeMode)!),
            Mask = parsed.GetValue(mask) is { } file ? InputImage.Load(file) : null,
            MaskBlur = (parsed.IsGiven(maskBlur) ? null : masked?.MaskBlur) ?? parsed.GetValue(maskBlur)!.Value,
            InvertMask = (parsed.IsGiven(invertMask) ? null : masked?.InvertMask) ?? parsed.GetValue(invertMask),
            MeanLatent = (parsed.IsGiven(latent) ? null : repeated?.MeanLatent) ?? FindLatent(parsed.GetValue(latent)!),
        };
    }

    private static string ResizeModeNames => string.Join(", ", Enum.GetValues<ResizeMode>().Select(PictureSettingsText.NameOf));

    private static string LatentNames => string.Join(", ", Latents.Select(l => l.Name));

    private static ResizeMode FindResizeMode(string name) => PictureSettingsText.FindResizeMode(name)
        ?? throw new StableDiffusionException($"unknown resize mode \"{name}\": choose one of {ResizeModeNames}");

    private static bool FindLatent(string name)
    {
        foreach (var (known, mean) in Latents)
        {
            if (string.Equals(known, name, StringComparison.OrdinalIgnoreCase))
            {
                return mean;
            }
        }

        throw new StableDiffusionException($"unknown latent \"{name}\": choose one of {LatentNames}");
    }
}
