using System.CommandLine;
using StableDiffusion.Ilgpu.Cli.Downloads;
using StableDiffusion.Ilgpu.Weights.Lora;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>The options that name files which change a model: LoRAs, learned tokens, a small autoencoder.</summary>
internal sealed class ModelAdditionSet
{
    private readonly Option<string[]> loras =
        Files(
            "--lora", "file[:scale]",
            "LoRA to merge into the model, at a scale of 1 unless given (file:scale:scale for text encoder and UNet); "
            + "may be repeated, changes add up");

    private readonly Option<string?> loraFolder = new("--lora-dir")
    {
        Description = "Folder, looked through with all in it, of the LoRAs that prompts name as <lora:NAME:SCALE>",
        HelpName = "folder",
    };

    private readonly Option<string[]> embeddings =
        Files("--embedding", "file", "Textual inversion, used in prompts by the file's name or its own token; may be repeated");

    private readonly Option<string?> taesd = new("--taesd")
    {
        Description = "TAESD file that decodes, and encodes pictures, in place of the model's autoencoder: faster, less exact",
        HelpName = "file",
    };

    private readonly Option<bool> taesdPreviewOnly = new("--taesd-preview-only") { Description = "Use the TAESD file for previews alone" };

    public void AddTo(Command command)
    {
        AddFilesTo(command);
        command.Add(loraFolder);
        command.Add(taesdPreviewOnly);
        command.RequireFor([taesdPreviewOnly], taesd);
    }

    /// <summary>What needs no prompt.</summary>
    public void AddFilesTo(Command command)
    {
        AddLorasTo(command);
        command.Add(embeddings);
        command.Add(taesd);
    }

    /// <summary>What becomes a part of the model's own weights.</summary>
    public void AddLorasTo(Command command) => command.Add(loras);

    /// <summary>The model with the additions. LoRAs are merged when it is loaded, so the prompts are looked at before.</summary>
    /// <exception cref="StableDiffusionException">An option or a prompt names no LoRA, or something that was not pulled.</exception>
    public ModelOptions Read(ParseResult parsed, ModelOptions model, ModelCache pulled, params IEnumerable<string> prompts)
    {
        var named = (parsed.GetValue(loras) ?? []).Select(LoraReference.Parse).Select(l => l with { Path = pulled.Find(l.Path)! })
            .Concat(LoraFolder.Resolve(parsed.GetValue(loraFolder), prompts));
        var small = pulled.Find(parsed.GetValue(taesd));
        var isForPreviews = parsed.GetValue(taesdPreviewOnly);
        return model with
        {
            Loras = [.. named.Select(l => l.ToString())],
            Embeddings = [.. (parsed.GetValue(embeddings) ?? []).Select(e => pulled.Find(e)!)],
            Taesd = isForPreviews ? null : small,
            PreviewTaesd = isForPreviews ? small : null,
        };
    }

    /// <summary>Whether a TAESD file is given, for pictures or for previews alone.</summary>
    public bool HasTaesd(ParseResult parsed) => parsed.GetValue(taesd) is not null;

    /// <summary>Tells what LoRA files hold without effect: always their number, the names if asked for.</summary>
    public static void Print(IReadOnlyList<LoraReport> reports, Action<string> writeLine, bool verbosely)
    {
        foreach (var (reference, tensors, unmatched, _) in reports.Where(l => verbosely || l.Unmatched.Count > 0))
        {
            writeLine(
                $"lora {reference.Name} at {reference.Scale} changes {tensors} tensors"
                + (unmatched.Count == 0 ? "" : $"; {unmatched.Count} of its own have no effect on this model")
                + (unmatched.Count == 0 ? "" : verbosely ? ":" : " (-v lists them)"));
            foreach (var name in unmatched.Where(_ => verbosely))
            {
                writeLine($"  {name}");
            }
        }
    }

    /// <summary>May be given several times, with one value each.</summary>
    private static Option<string[]> Files(string name, string value, string description) => new(name)
    {
        Description = description,
        HelpName = value,
        DefaultValueFactory = _ => [],
        Arity = ArgumentArity.OneOrMore,
        AllowMultipleArgumentsPerToken = false,
    };
}
