using System.Text.Json;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// A published architecture in full size with <see cref="SyntheticWeights"/>: <c>synthetic:NAME[:SALT]</c>. Nothing is stored or
/// downloaded; it makes pictures of nothing, but every number can be checked and timed.
/// </summary>
internal sealed class SyntheticModel : IModelSource
{
    public const string Prefix = "synthetic:";

    private const string DefaultSalt = "public";

    /// <summary>For messages.</summary>
    public static readonly string ValidNames = string.Join(", ", ModelVariant.All.Select(v => $"{Prefix}{v.Id}[:SALT]"));

    private readonly string model;
    private readonly string salt;
    private readonly ModelVariant variant;

    private SyntheticModel(string model, string salt, ModelVariant variant) =>
        (this.model, this.salt, this.variant) = (model, salt, variant);

    public string Description => $"{Prefix}{model}";

    public string Name => $"synthetic-{model}";

    public string? Sha256 => null;

    public string Layout => $"synthetic weights, salt {salt}; configurations published for {variant.Title}";

    public IReadOnlyList<string> Ignored => [];

    public JsonElement SchedulerConfig => JsonFile.ParseObject(variant.Scheduler, SchedulerConfigDescription);

    public string SchedulerConfigDescription => $"{Description} scheduler";

    public TokenizerFiles? Tokenizer => variant.PadToken is { } pad ? new(null, null, pad) : null;

    /// <exception cref="StableDiffusionException">There is no such architecture.</exception>
    public static SyntheticModel Open(string description)
    {
        var parts = description[Prefix.Length..].Split(':', 2);
        if (ModelVariant.Find(parts[0]) is not { } variant)
        {
            throw new StableDiffusionException(
                $"{description}: no such synthetic model; valid: {ValidNames}");
        }

        var salt = parts.Length > 1 ? parts[1] : DefaultSalt;
        return salt.Length > 0
            ? new SyntheticModel(parts[0], salt, variant)
            : throw new StableDiffusionException($"{description}: the salt is empty; leave the last ':' out for the salt {DefaultSalt}");
    }

    public JsonElement Config(ModelPart part) => variant.Config(part);

    public string ConfigDescription(ModelPart part) => $"{Description} {DiffusersFolder.FolderOf(part)}";

    public IWeightSource Open(ModelPart part, IReadOnlyList<TensorInfo> declared)
    {
        var component = part switch { ModelPart.TextEncoder => "te", ModelPart.UNet => "unet", _ => "vae" };
        return new SyntheticWeights(salt, model, component, declared);
    }

    public void Dispose()
    {
    }
}
