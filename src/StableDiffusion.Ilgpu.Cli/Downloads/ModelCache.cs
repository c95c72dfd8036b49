namespace StableDiffusion.Ilgpu.Cli.Downloads;

/// <summary>
/// The folder that downloads go to. A repository lies in <c>hub/OWNER/REPOSITORY/REVISION</c>, a variant of it beside that with
/// <c>+VARIANT</c>; of several, the one pulled last is opened.
/// </summary>
internal sealed class ModelCache(string root)
{
    public string Root { get; } = root;

    /// <summary>Where compiled kernels lie.</summary>
    public string Kernels => Path.Combine(Root, "kernels");

    /// <summary>The cache in a folder, or without one in the user's place for caches.</summary>
    public static ModelCache Open(string? folder, Func<string, string?> environment) =>
        new(Path.GetFullPath(folder ?? Path.Combine(UserCaches(environment), "sdilgpu")));

    /// <summary><c>XDG_CACHE_HOME</c> or <c>~/.cache</c>, whether it is there or not; never the folder that the program was started in.</summary>
    public static string UserCaches(Func<string, string?> environment) =>
        environment("XDG_CACHE_HOME") is { Length: > 0 } given && Path.IsPathRooted(given)
            ? given
            : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile, Environment.SpecialFolderOption.DoNotVerify), ".cache");

    /// <summary>Where a repository's files go.</summary>
    public string FolderOf(HubReference reference, string? variant = null) =>
        Path.Combine(
            Root, "hub", Path.Combine(reference.Repository.Split('/')),
            Uri.EscapeDataString(reference.Revision) + (variant is null ? "" : "+" + variant));

    /// <summary>
    /// What <c>-m</c> means: a path that exists stands for itself; a name of the manifest and <c>hf:owner/repo[@revision][:file]</c> stand
    /// for what was pulled under them; anything else is handed on.
    /// </summary>
    /// <exception cref="StableDiffusionException">The name is known, but it was not pulled.</exception>
    public string? Find(string? model)
    {
        if (model is null || Path.Exists(model))
        {
            return model;
        }

        var reference = model.StartsWith(HubReference.Prefix, StringComparison.Ordinal)
            ? HubReference.Parse(model)
            : ModelManifest.Default.Find(model)?.Reference;
        return reference is null
            ? model
            : FindPulled(reference)
                ?? throw new StableDiffusionException($"'{model}' is not in the cache {Root}: 'sdilgpu pull {model}' fetches it");
    }

    private string? FindPulled(HubReference reference)
    {
        var plain = FolderOf(reference);
        if (!Directory.Exists(Path.GetDirectoryName(plain)))
        {
            return null;
        }

        var variants = Directory.EnumerateDirectories(Path.GetDirectoryName(plain)!, Path.GetFileName(plain) + "+*");
        return variants.Prepend(plain)
            .Select(folder => (Folder: folder, Target: TargetIn(folder, reference.File)))
            .Where(found => found.Target is not null)
            .OrderByDescending(found => File.GetLastWriteTimeUtc(Path.Combine(found.Folder, CacheRecord.FileName)))
            .FirstOrDefault().Target;
    }

    /// <summary>The whole model in a folder, or its one file of weights; null where something is missing.</summary>
    public static string? TargetIn(string folder, string? file)
    {
        var record = CacheRecord.Read(folder);
        if (file is not null)
        {
            return record.Files.ContainsKey(file) && File.Exists(PathIn(folder, file)) ? PathIn(folder, file) : null;
        }

        if (record.Model is not { Count: > 0 } files || !files.All(f => record.Files.ContainsKey(f) && File.Exists(PathIn(folder, f))))
        {
            return null;
        }

        var weights = files.Where(f => !f.EndsWith(".json", StringComparison.Ordinal)).ToList();
        return files.Contains(FileSelection.IndexName) || weights.Count != 1 ? folder : PathIn(folder, weights[0]);
    }

    /// <summary>What a pulled model's folder is called in pictures: by its repository, for the folder's own name is a revision. Null for others.</summary>
    public static string? NameOf(string path) => CacheRecord.Read(path).Repository.Split('/')[^1] is { Length: > 0 } name ? name : null;

    public static string PathIn(string folder, string file) => Path.Combine(folder, Path.Combine(file.Split('/')));
}
