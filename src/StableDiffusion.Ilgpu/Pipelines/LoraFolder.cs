using StableDiffusion.Ilgpu.Text;
using StableDiffusion.Ilgpu.Weights.Lora;

namespace StableDiffusion.Ilgpu;

/// <summary>A folder of LoRA files that prompts name.</summary>
internal static class LoraFolder
{
    /// <summary>Read in this order where a folder has two files of one name.</summary>
    private static readonly string[] Extensions = [".safetensors", ".pt"];

    /// <summary>The files of the LoRAs that some prompts name, in their order.</summary>
    /// <param name="folder">Where they lie; null where there is no such folder.</param>
    /// <param name="prompts">Prompts and negative prompts.</param>
    /// <exception cref="StableDiffusionException">There is no folder, or no such LoRA in it.</exception>
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
        return [.. named.Select(n => new LoraReference(
            files.GetValueOrDefault(n.Name) ?? throw new StableDiffusionException(
                $"the prompt names the LoRA '{n.Name}', which {folder} does not hold; there: "
                + (files.Count > 0 ? string.Join(", ", files.Keys.Order(StringComparer.Ordinal)) : "none")),
            n.Scale))];
    }

    private static Dictionary<string, string> List(string folder)
    {
        try
        {
            return Directory.EnumerateFiles(folder)
                .Where(f => Extensions.Contains(Path.GetExtension(f), StringComparer.OrdinalIgnoreCase))
                .OrderBy(f => Array.FindIndex(Extensions, e => string.Equals(e, Path.GetExtension(f), StringComparison.OrdinalIgnoreCase)))
                .DistinctBy(f => Path.GetFileNameWithoutExtension(f)).ToDictionary(f => Path.GetFileNameWithoutExtension(f));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StableDiffusionException($"{folder}: cannot be read: {e.Message}", e);
        }
    }
}
