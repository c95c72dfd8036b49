using System.Text.Json;

namespace StableDiffusion.Ilgpu.Cli.Downloads;

/// <summary>A model that has a short name.</summary>
/// <param name="Name">The name, <c>sd15</c>.</param>
/// <param name="Title">What it is.</param>
/// <param name="Repository">Owner and name on the hub.</param>
/// <param name="Revision">Branch, tag or commit.</param>
/// <param name="File">The one file that is the model; null to choose the files as for any repository.</param>
/// <param name="Hashes">Published hashes of its files.</param>
internal sealed record ManifestModel(
    string Name, string Title, string Repository, string? Revision = null, string? File = null,
    IReadOnlyList<ManifestHash>? Hashes = null)
{
    public HubReference Reference => new(Repository, Revision ?? HubReference.DefaultRevision, File);

    /// <summary>The published hash of a file, or null.</summary>
    public Digest? DigestOf(string file) =>
        Hashes?.FirstOrDefault(h => h.File == file) is { } hash
            ? Digest.OrNull(DigestKind.Sha256, hash.Sha256, hash.Source)
                ?? throw new StableDiffusionException($"the model manifest's hash of {Name}: {file} is no SHA-256")
            : null;
}

/// <summary>A hash and where it was published.</summary>
internal sealed record ManifestHash(string File, string Sha256, string Source);

/// <summary>The models that have short names: <c>weights/models.json</c> beside the program.</summary>
internal sealed record ModelManifest(IReadOnlyList<ManifestModel> Models)
{
    private static readonly JsonSerializerOptions Options = new(JsonSerializerDefaults.Web)
    {
        RespectRequiredConstructorParameters = true,
        RespectNullableAnnotations = true,
    };

    private static readonly Lazy<ModelManifest> Loaded = new(() => Read(DefaultPath));

    /// <summary>The manifest that came with the program.</summary>
    public static ModelManifest Default => Loaded.Value;

    public static string DefaultPath => Path.Combine(AppContext.BaseDirectory, "weights", "models.json");

    public string Names => string.Join(", ", Models.Select(m => m.Name));

    public static ModelManifest Read(string path)
    {
        try
        {
            return JsonSerializer.Deserialize<ModelManifest>(File.ReadAllBytes(path), Options)!;
        }
        catch (Exception e) when (e is JsonException or IOException or UnauthorizedAccessException)
        {
            throw new StableDiffusionException($"cannot read the model manifest '{path}': {e.Message}", e);
        }
    }

    /// <summary>The model of a name, or null.</summary>
    public ManifestModel? Find(string name) => Models.FirstOrDefault(m => string.Equals(m.Name, name, StringComparison.OrdinalIgnoreCase));
}
