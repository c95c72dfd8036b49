using System.Text.RegularExpressions;

namespace StableDiffusion.Ilgpu.Cli.Downloads;

/// <summary>
/// Which files of a repository make up the model: configurations, tokenizer, and each component's weights once, although repositories
/// hold them in several formats and precisions.
/// </summary>
internal static partial class FileSelection
{
    public const string IndexName = "model_index.json";
    private const int MostNamesInMessage = 12;
    private static readonly string[] WithWeights = ["text_encoder", "unet", "vae"];

    /// <summary>Names in diffusers' repositories of the precision that half the size has.</summary>
    private const string HalfVariant = "fp16";

    /// <summary>The files to fetch.</summary>
    /// <param name="listing">Everything that there is.</param>
    /// <param name="named">The one file that the caller names; null to choose.</param>
    /// <param name="variant">The weights' variant that is wanted, as in <c>unet/diffusion_pytorch_model.fp16.safetensors</c>.</param>
    /// <param name="repository">For messages.</param>
    /// <exception cref="StableDiffusionException">Something is missing, or the choice is the user's.</exception>
    public static IReadOnlyList<HubFile> Choose(HubListing listing, string? named, string? variant, string repository)
    {
        var files = listing.Files.DistinctBy(f => f.Path).ToDictionary(f => f.Path);
        if (named is not null)
        {
            return files.TryGetValue(named, out var file)
                ? [file]
                : throw new StableDiffusionException($"{repository}: there is no file '{named}'; {Offer(listing)}");
        }

        return files.ContainsKey(IndexName)
            ? ChoosePipeline(files, variant, repository)
            : ChooseSingle(listing, files, variant, repository);
    }

    private static List<HubFile> ChoosePipeline(Dictionary<string, HubFile> files, string? variant, string repository)
    {
        List<HubFile> chosen =
        [
            files[IndexName],
            .. files.Values.Where(f =>
                Path.GetDirectoryName(f.Path) is "scheduler" or "tokenizer" && Path.GetExtension(f.Path) is ".json" or ".txt"),
        ];
        var hasVariant = false;
        foreach (var component in WithWeights)
        {
            chosen.Add(files.GetValueOrDefault($"{component}/config.json")
                ?? throw new StableDiffusionException($"{repository}: {component}/config.json is missing"));
            chosen.AddRange(ChooseWeights(files.Values, component + "/", variant, ref hasVariant)
                ?? throw new StableDiffusionException($"{repository}: {component} has no weights as .safetensors or .bin"));
        }

        return hasVariant || variant is null ? chosen : throw NoVariant(variant, repository);
    }

    private static HubFile[] ChooseSingle(
        HubListing listing, Dictionary<string, HubFile> files, string? variant, string repository)
    {
        // One component on its own, as a TAESD or a fine-tuned autoencoder.
        var hasVariant = false;
        if (files.TryGetValue("config.json", out var config) && ChooseWeights(files.Values, "", variant, ref hasVariant) is { } weights)
        {
            return hasVariant || variant is null ? [config, .. weights] : throw NoVariant(variant, repository);
        }

        HubFile[] single = [.. listing.Files.Where(f => IsWeights(f.Path) && !f.Path.Contains('/', StringComparison.Ordinal))];
        HubFile[] safe = [.. single.Where(f => f.Path.EndsWith(".safetensors", StringComparison.Ordinal))];
        return (single.Length, safe.Length) switch
        {
            (_, 1) => safe,
            (1, 0) => single,
            (0, _) => throw new StableDiffusionException($"{repository}: there is no model: neither {IndexName} nor a file of weights"),
            _ => throw new StableDiffusionException(
                $"{repository} has several files of weights: choose one with {repository}:FILE; {Offer(listing)}"),
        };
    }

    /// <summary>The weights in a folder: safetensors before pickle, the wanted variant before none, whole before sharded.</summary>
    private static List<HubFile>? ChooseWeights(IEnumerable<HubFile> files, string folder, string? variant, ref bool hasVariant)
    {
        var candidates = files
            .Where(f => f.Path.StartsWith(folder, StringComparison.Ordinal))
            .Select(f => (File: f, Match: WeightsPattern().Match(f.Path[folder.Length..])))
            .Where(c => c.Match.Success)
            .Select(c => (c.File, Variant: VariantOf(c.Match), Format: c.Match.Groups["format"].Value,
                InParts: c.Match.Groups["shard"].Success || c.Match.Groups["index"].Success))
            .ToList();
        string?[] variants = variant is null ? [null, HalfVariant] : [variant, null, HalfVariant];
        foreach (var format in new[] { "safetensors", "bin" })
        {
            foreach (var wanted in variants)
            {
                var set = candidates.Where(c => c.Format == format && c.Variant == wanted).ToList();
                if (set.Count > 0)
                {
                    hasVariant |= variant is not null && wanted == variant;
                    return set.Find(c => !c.InParts) is { File: { } whole } ? [whole] : [.. set.Select(c => c.File)];
                }
            }
        }

        return null;
    }

    private static string? VariantOf(Match match) =>
        match.Groups["variant"] is { Success: true } group ? group.Value.TrimStart('.') : null;

    private static StableDiffusionException NoVariant(string variant, string repository) =>
        new($"{repository}: there are no weights of the variant '{variant}'; without --variant the plain ones are fetched");

    private static bool IsWeights(string path) => Path.GetExtension(path) is ".safetensors" or ".ckpt" or ".pt" or ".bin";

    private static string Offer(HubListing listing)
    {
        string[] names = [.. listing.Files.Select(f => f.Path).Where(IsWeights).Order(StringComparer.Ordinal)];
        var more = names.Length - MostNamesInMessage;
        return names.Length == 0 ? "it has no weights"
            : $"it has {string.Join(", ", names.Take(MostNamesInMessage))}{(more > 0 ? $" and {more} more" : "")}";
    }

    // Shards carry the variant in front of or behind their number, and their index behind "index".
    [GeneratedRegex(
        @"^(diffusion_pytorch_model|pytorch_model|model)(?<variant>\.\w+)?(?<shard>-\d{5}-of-\d{5})?(?<variant>\.\w+)?"
        + @"\.(?<format>safetensors|bin)(?<index>\.index(?<variant>\.\w+)?\.json)?$")]
    private static partial Regex WeightsPattern();
}
