using StableDiffusion.Ilgpu.Text;
using StableDiffusion.Ilgpu.Weights.Lora;

namespace StableDiffusion.Ilgpu;

/// <summary>A folder, with the folders in it, of LoRA files that prompts name.</summary>
internal static class LoraFolder
{
    /// <summary>Read in this order where a folder has two files of one name.</summary>
    private static readonly string[] Extensions = [".safetensors", ".pt", ".ckpt"];

    /// <summary>The files of the LoRAs that some prompts name, in their order.</summary>
    /// <param name="folder">Where they lie; null where there is no such folder.</param>
    /// <param name="prompts">Prompts and negative prompts.</param>
    /// <exception cref="StableDiffusionException">There is no folder, no such LoRA in it, or one in two places.</exception>
    public static IReadOnlyList<LoraReference> Resolve(string? folder, params IEnumerable<string> prompts)
    {
        var named = prompts.SelectMany(p => PromptLoras.Parse(p).Loras).Distinct().ToArray();
        if (named.Length == 0)
        {
            return [];
        }

        if (folder is null)
        {
            throw new StableDiffusionException(
                $"the prompt names the LoRA '{named[0].Name}', but no folder of LoRAs is given (--lora-dir)");
        }

        var files = List(folder);
        var trained = new Lazy<ILookup<string?, string>>(() => files.SelectMany(f => f)
            .Where(f => Rank(f) == 0).ToLookup(LoraFile.TrainersNameOf));
        return [.. named.Select(n => new LoraReference(Find(n.Name), n.Scale))];

        // The web UI's prompts name files as their trainers did, whatever the files are called.
        string Find(string name) => (files.Contains(name) ? files[name] : trained.Value[name]).ToArray() switch
        {
            [var only] => only,
            [] => throw new StableDiffusionException(
                $"the prompt names the LoRA '{name}', which {folder} does not hold; there: "
                + (files.Count > 0 ? string.Join(", ", files.Select(f => f.Key).Order(StringComparer.Ordinal)) : "none")),
            var several => throw new StableDiffusionException(
                $"the prompt names the LoRA '{name}', of which there are several: "
                + string.Join(", ", several.Order(StringComparer.Ordinal))),
        };
    }

    /// <summary>Files by what prompts call them, one of each folder.</summary>
    private static ILookup<string, string> List(string folder)
    {
        try
        {
            return FilesUnder(folder).Where(f => Rank(f) >= 0).OrderBy(Rank)
                .DistinctBy(f => (Path.GetDirectoryName(f), Path.GetFileNameWithoutExtension(f)))
                .ToLookup(f => Path.GetFileNameWithoutExtension(f));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StableDiffusionException($"{folder}: cannot be read: {e.Message}", e);
        }
    }

    private static int Rank(string file) =>
        Array.FindIndex(Extensions, e => string.Equals(e, Path.GetExtension(file), StringComparison.OrdinalIgnoreCase));

    /// <summary>Each folder's files once, whatever symbolic links lead to it.</summary>
    private static IEnumerable<string> FilesUnder(string folder)
    {
        var (waiting, seen) = (new Stack<string>([folder]), new HashSet<string>());
        while (waiting.TryPop(out var next))
        {
            // Links that lead to one another lead to no folder, and to follow them would never end.
            if (!Directory.Exists(next))
            {
                throw new DirectoryNotFoundException($"there is no folder '{next}'");
            }

            if (!seen.Add(WithoutLinks(next)))
            {
                continue;
            }

            foreach (var file in Directory.EnumerateFiles(next))
            {
                yield return file;
            }

            foreach (var inner in Directory.EnumerateDirectories(next))
            {
                waiting.Push(inner);
            }
        }
    }

    private static string WithoutLinks(string folder)
    {
        var path = Path.GetFullPath(folder);
        if (Path.GetDirectoryName(path) is not { } parent)
        {
            return path;
        }

        path = Path.Combine(WithoutLinks(parent), Path.GetFileName(path));
        return Directory.ResolveLinkTarget(path, returnFinalTarget: false) is { } target ? WithoutLinks(target.FullName) : path;
    }
}
