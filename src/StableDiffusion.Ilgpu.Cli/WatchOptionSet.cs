using System.CommandLine;
using System.Globalization;
using StableDiffusion.Ilgpu.Imaging;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>The options that show a picture while it emerges. <c>--preview</c> also takes a method, as stable-diffusion.cpp's does.</summary>
internal sealed class WatchOptionSet
{
    private const string Off = "none";

    private static readonly (string Name, PreviewMethod Method)[] Methods =
        [("proj", PreviewMethod.Linear), ("tae", PreviewMethod.TinyAutoencoder), ("vae", PreviewMethod.Autoencoder)];

    private readonly Option<string?> preview = SharedOptions.OptionalChoice(
        "--preview", "Write the picture as it emerges every N steps, and show it in terminals with colours", text => ReadPreview(text));

    private readonly Option<int?> interval = SharedOptions.Number<int>("--preview-interval", "The N of --preview METHOD [default: 1]");

    private readonly Option<string?> method = SharedOptions.OptionalChoice(
        "--preview-method",
        "How previews are made: proj (colours straight from the latent; small models decode instead), tae (--taesd) or vae [default: proj]",
        name => FindMethod(name));

    private readonly Option<string?> previewPath = new("--preview-path")
    {
        Description = "PNG file of the preview [default: preview.png beside the output]",
        HelpName = "file",
    };

    private readonly Option<string?> saveSteps = new("--save-steps")
    {
        Description = "Write the whole denoising, from noise to picture, as a strip (.png) or an animation (.apng, .webp)",
        HelpName = "file",
    };

    private readonly Option<int?> saveStepsEvery = SharedOptions.Number<int>(
        "--save-steps-every", "Steps from one picture of --save-steps to the next [default: 1]");

    public void AddTo(Command command)
    {
        preview.HelpName = "N";
        method.HelpName = "method";
        foreach (var option in new Option[] { preview, interval, method, previewPath, saveSteps, saveStepsEvery })
        {
            command.Add(option);
        }

        command.RequireFor([interval, method, previewPath], preview);
        command.RequireFor([saveStepsEvery], saveSteps);
    }

    /// <summary>The request with what is to be watched.</summary>
    /// <param name="parsed">The options.</param>
    /// <param name="request">What is to be drawn.</param>
    /// <param name="hasTaesd">Whether there is a TAESD.</param>
    /// <param name="outputs">Files of the pictures.</param>
    /// <param name="inputs">Files that are read.</param>
    /// <param name="cancellationToken">Stops looking at many files.</param>
    /// <exception cref="StableDiffusionException">The options contradict each other, or a file is another one of these.</exception>
    public (GenerationRequest Request, PictureWatch Watch) Read(
        ParseResult parsed, GenerationRequest request, bool hasTaesd, string[] outputs, IEnumerable<string> inputs, CancellationToken cancellationToken)
    {
        var every = ReadInterval(parsed);
        var steps = parsed.GetValue(saveSteps);
        var stepsEvery = AtLeastOne("--save-steps-every", parsed.GetValue(saveStepsEvery) ?? 1);
        var path = every == 0 ? null
            : parsed.GetValue(previewPath) ?? Path.Combine(Path.GetDirectoryName(outputs[0]) ?? "", "preview.png");
        OutputNames.RefuseOtherFormats(path ?? "");
        var chosen = ReadMethod(parsed);
        if (chosen == PreviewMethod.TinyAutoencoder && !hasTaesd)
        {
            throw new StableDiffusionException("previews by tae need a file: --taesd FILE, with --taesd-preview-only if it is for previews alone");
        }

        var watch = new PictureWatch(path, steps is null ? [] : StepsFiles(steps, outputs.Length, cancellationToken));
        RefuseTaken(outputs.Concat(inputs), watch.Files, cancellationToken);
        return (
            request with
            {
                PreviewInterval = every,
                PreviewMethod = chosen,
                NoisyPreviewInterval = steps is null ? 0 : stepsEvery,
            },
            watch);
    }

    /// <summary>What shows the way to a picture must not take the place of it, of what it begins with, or of one another.</summary>
    private static void RefuseTaken(IEnumerable<string> taken, IEnumerable<string> files, CancellationToken cancellationToken)
    {
        if (!files.Any())
        {
            return;
        }

        // Where file systems usually are so, names that differ in case alone are one file's.
        var names = taken.Select(Place)
            .ToHashSet(OperatingSystem.IsWindows() || OperatingSystem.IsMacOS() ? StringComparer.OrdinalIgnoreCase : StringComparer.Ordinal);
        if (files.FirstOrDefault(f => !names.Add(Place(f))) is { } twice)
        {
            throw new StableDiffusionException(
                $"'{twice}' would be written over another file of this run; --preview-path, --save-steps, --output and the pictures that are read need names of their own");
        }

        // What is written to a link goes where it points to.
        string Place(string path)
        {
            cancellationToken.ThrowIfCancellationRequested();
            try
            {
                return Path.GetFullPath(FinishedFile.TargetOf(path));
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // Whoever reads it tells what is wrong with it.
                return Path.GetFullPath(path);
            }
        }
    }

    private int ReadInterval(ParseResult parsed)
    {
        var (number, chosen) = parsed.GetValue(preview) is { } text ? ReadPreview(text) : (0, null);
        if (parsed.GetValue(interval) is { } given)
        {
            AtLeastOne("--preview-interval", given);
            return number != 0 && number != given
                ? throw new StableDiffusionException($"--preview {number} and --preview-interval {given} are two intervals; give one")
                : chosen is null ? number : given;
        }

        return chosen is null ? number : 1;
    }

    private PreviewMethod ReadMethod(ParseResult parsed)
    {
        var inPreview = parsed.GetValue(preview) is { } text ? ReadPreview(text).Method : null;
        return parsed.GetValue(method) is { } name ? FindMethod(name) : inPreview ?? PreviewMethod.Linear;
    }

    /// <summary>The names of a batch are numbered as those of its pictures.</summary>
    private static string[] StepsFiles(string output, int count, CancellationToken cancellationToken)
    {
        var extension = Path.GetExtension(output);
        if (!StepsPicture.Extensions.Contains(extension, StringComparer.OrdinalIgnoreCase))
        {
            throw new StableDiffusionException($"cannot write '{output}': valid: {string.Join(", ", StepsPicture.Extensions)}");
        }

        StepsPicture.CheckLibrary(extension);
        return [.. OutputNames.All(Path.ChangeExtension(output, ".png"), count, cancellationToken).Select(f => Path.ChangeExtension(f, extension))];
    }

    private static (int Interval, PreviewMethod? Method) ReadPreview(string text) =>
        int.TryParse(text, NumberStyles.Integer, CultureInfo.InvariantCulture, out var number) ? (AtLeastOne("--preview", number), null)
        : string.Equals(text, Off, StringComparison.OrdinalIgnoreCase) ? (0, null)
        : (0, FindMethod(text));

    private static PreviewMethod FindMethod(string name)
    {
        foreach (var known in Methods)
        {
            if (string.Equals(known.Name, name, StringComparison.OrdinalIgnoreCase))
            {
                return known.Method;
            }
        }

        throw new StableDiffusionException(
            $"unknown preview \"{name}\": give a number of steps, or choose one of {string.Join(", ", Methods.Select(m => m.Name).Append(Off))}");
    }

    private static int AtLeastOne(string name, int value) =>
        value >= 1 ? value : throw new StableDiffusionException($"{name} {value} cannot be used; valid: 1 or more");
}
