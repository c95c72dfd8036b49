namespace StableDiffusion.Ilgpu.Weights;

/// <summary>A table of module names in the original naming and in diffusers', usable in both directions.</summary>
internal sealed class NamePairs(params (string Original, string Diffusers)[] pairs)
{
    /// <summary>A name that is or lies under one of the original modules, in diffusers' naming; null for any other.</summary>
    public string? ToDiffusers(string name) => Swap(name, pairs);

    /// <summary>The inverse.</summary>
    public string? ToOriginal(string name) => Swap(name, pairs.Select(p => (p.Diffusers, p.Original)));

    /// <summary>A name that begins with a prefix, behind it; null for any other.</summary>
    public static string? Behind(string prefix, string name) =>
        name.StartsWith(prefix, StringComparison.Ordinal) ? name[prefix.Length..] : null;

    private static string? Swap(string name, IEnumerable<(string From, string To)> pairs)
    {
        foreach (var (from, to) in pairs)
        {
            if (name.StartsWith(from, StringComparison.Ordinal) && (name.Length == from.Length || name[from.Length] == '.'))
            {
                return to + name[from.Length..];
            }
        }

        return null;
    }
}
