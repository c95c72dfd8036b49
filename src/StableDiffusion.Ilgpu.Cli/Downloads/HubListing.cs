using System.Text.Json;

namespace StableDiffusion.Ilgpu.Cli.Downloads;

/// <summary>What a repository holds at a revision, as the hub's reply to the model-info request tells it.</summary>
/// <param name="Commit">The commit that the revision stands for.</param>
/// <param name="Files">Every file but those whose names some system cannot store: models have none, people's pictures beside them may.</param>
internal sealed record HubListing(string Commit, IReadOnlyList<HubFile> Files)
{
    /// <summary>
    /// Reads <c>{"sha": …, "siblings": [{"rfilename": …, "size": …, "blobId": …, "lfs": {"sha256": …, "size": …}}]}</c>.
    /// </summary>
    /// <exception cref="StableDiffusionException">The reply has another form, or names a file that would leave its folder.</exception>
    public static HubListing Parse(ReadOnlyMemory<byte> json, string repository)
    {
        try
        {
            using var document = JsonDocument.Parse(json);
            var commit = document.RootElement.GetProperty("sha").GetString()!;
            HubFile[] files = [.. document.RootElement.GetProperty("siblings").EnumerateArray().Select(e => ReadFile(e, repository)).OfType<HubFile>()];
            return HubReference.IsSafePath(commit) ? new HubListing(commit, files) : throw new FormatException("the commit is not usable");
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new StableDiffusionException($"{repository}: the hub's list of files cannot be read: {e.Message}", e);
        }
    }

    /// <returns>Null for a file that cannot be stored everywhere.</returns>
    private static HubFile? ReadFile(JsonElement json, string repository)
    {
        var path = json.GetProperty("rfilename").GetString() ?? "";
        if (!HubReference.IsSafePath(path))
        {
            return HubReference.LeavesFolder(path)
                ? throw new StableDiffusionException($"{repository}: the hub lists a file '{path}', which is not in the repository's folder")
                : null;
        }

        // The id of a file in LFS belongs to its pointer, not to its content.
        var isLarge = json.TryGetProperty("lfs", out var lfs) && lfs.ValueKind == JsonValueKind.Object;
        var size = isLarge && lfs.TryGetProperty("size", out var s) || json.TryGetProperty("size", out s) ? s.GetInt64() : (long?)null;
        var digest = isLarge
            ? Digest.OrNull(DigestKind.Sha256, TextOf(lfs, "sha256") ?? TextOf(lfs, "oid"), Digest.FromHub)
            : Digest.OrNull(DigestKind.GitBlob, TextOf(json, "blobId"), Digest.FromHub);
        return new HubFile(path, size, digest);
    }

    private static string? TextOf(JsonElement json, string key) =>
        json.TryGetProperty(key, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;
}

/// <summary>A file of a repository.</summary>
/// <param name="Path">Its path, with <c>/</c>.</param>
/// <param name="Size">Its bytes, where the hub says.</param>
/// <param name="Digest">What its content must hash to, where that is known.</param>
internal sealed record HubFile(string Path, long? Size, Digest? Digest);
