namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// Holds a component's stored tensors against those that its graph declares, strictly in both directions: a model that loads is the
/// model that was meant.
/// </summary>
internal static class WeightCheck
{
    /// <summary>The one tensor of transformers' CLIPTextModel that older versions store and nothing reads: 0, 1, 2, ...</summary>
    public const string PositionIds = "text_model.embeddings.position_ids";

    private const int NamesInMessage = 3;

    /// <summary>A damaged file can hold any number of names of any length; what is said about them must not take forever.</summary>
    private const int NamesCompared = 10_000, LettersCompared = 200;

    /// <summary>
    /// Requires that every declared tensor is there, as floats and with its shape, and that every other tensor is an ignored one.
    /// The declared element type says nothing; sources convert.
    /// </summary>
    /// <exception cref="StableDiffusionException">
    /// A tensor is missing (the nearest names are given), has another shape or is left over.
    /// </exception>
    public static void Require(IWeightSource source, IEnumerable<TensorInfo> declared, Func<string, bool> ignored)
    {
        var wanted = declared.ToDictionary(t => t.Name);
        var missing = wanted.Keys.Where(n => !source.Tensors.ContainsKey(n)).ToList();
        var unused = source.Tensors.Keys.Where(n => !wanted.ContainsKey(n) && !ignored(n)).Order(StringComparer.Ordinal).ToList();
        if (missing.Count > 0)
        {
            // A misspelt tensor is among those left over, if there are any.
            var candidates = unused.Count > 0 ? unused : [.. source.Tensors.Keys];
            throw new StableDiffusionException(
                $"{source.Description}: tensor {missing[0]} is missing{AndMore(missing.Count - 1)}; " +
                $"nearest: {Nearest(missing[0], candidates)}");
        }

        foreach (var tensor in wanted.Values)
        {
            var stored = source.Tensors[tensor.Name];
            if (!stored.Shape.SequenceEqual(tensor.Shape))
            {
                throw new StableDiffusionException(
                    $"{source.Description}: tensor {tensor.Name} has shape {stored.ShapeText}; " +
                    $"the model's configuration needs {tensor.ShapeText}");
            }

            RequireFloat(source, stored);
        }

        if (unused.Count > 0)
        {
            throw new StableDiffusionException(
                $"{source.Description}: {unused.Count} tensor(s) belong to no part of the model: " +
                $"{string.Join(", ", unused.Take(NamesInMessage))}{AndMore(unused.Count - NamesInMessage)}");
        }
    }

    /// <summary>The source, held against what is declared by <see cref="Require"/>; disposed if it does not pass.</summary>
    /// <exception cref="StableDiffusionException">As there.</exception>
    public static IWeightSource Checked(IWeightSource source, IEnumerable<TensorInfo> declared, Func<string, bool> ignored)
    {
        try
        {
            Require(source, declared, ignored);
            return source;
        }
        catch
        {
            source.Dispose();
            throw;
        }
    }

    /// <summary>The tensor of a read into <paramref name="length"/> elements.</summary>
    /// <exception cref="StableDiffusionException">There is no such tensor, or it does not hold floats.</exception>
    /// <exception cref="ArgumentException">The length is not the tensor's: the caller's mistake.</exception>
    public static TensorInfo Readable(IWeightSource source, string name, int length)
    {
        if (!source.Tensors.TryGetValue(name, out var info))
        {
            throw new StableDiffusionException(
                $"{source.Description}: tensor {name} is missing; nearest: {Nearest(name, source.Tensors.Keys)}");
        }

        RequireFloat(source, info);
        return info.Count == length ? info
            : throw new ArgumentException($"{name} {info.ShapeText} has {info.Count} elements, not {length}", nameof(length));
    }

    private static void RequireFloat(IWeightSource source, TensorInfo info)
    {
        if (!FloatConversion.IsFloat(info.Type))
        {
            throw new StableDiffusionException(
                $"{source.Description}: tensor {info.Name} has element type {info.Type}; valid for weights: F16, BF16, F32, F64, F8_E4M3, F8_E5M2");
        }
    }

    private static string AndMore(int count) => count > 0 ? $" (and {count} more)" : "";

    private static string Nearest(string name, IEnumerable<string> candidates)
    {
        var nearest = candidates.Take(NamesCompared).OrderBy(c => Distance(name, c)).ThenBy(c => c, StringComparer.Ordinal).Take(NamesInMessage).ToList();
        return nearest.Count > 0 ? string.Join(", ", nearest) : "none, the file is empty";
    }

    /// <summary>Levenshtein's edit distance; what is cut off, no real name has.</summary>
    private static int Distance(string first, string second)
    {
        var a = first.AsSpan(0, Math.Min(first.Length, LettersCompared));
        var b = second.AsSpan(0, Math.Min(second.Length, LettersCompared));
        var row = Enumerable.Range(0, b.Length + 1).ToArray();
        for (var i = 1; i <= a.Length; i++)
        {
            var diagonal = row[0];
            row[0] = i;
            for (var j = 1; j <= b.Length; j++)
            {
                var replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.Min(replaced, Math.Min(row[j], row[j - 1]) + 1);
            }
        }

        return row[^1];
    }
}
