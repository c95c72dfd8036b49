using StableDiffusion.Ilgpu.Models;
using StableDiffusion.Ilgpu.Text;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu;

/// <summary>
/// Tokens behind a model's vocabulary whose rows its own token table holds: textual inversion and custom diffusion that were saved as whole
/// models.
/// </summary>
internal static class StoredTokens
{
    /// <param name="added">What the tokenizer's folder lists; tokens of the vocabulary among them are passed over.</param>
    /// <param name="tokenizer">With the vocabulary alone.</param>
    /// <param name="config">The text encoder as it is stored.</param>
    /// <exception cref="StableDiffusionException">A token has the id of another one, or one without a row.</exception>
    public static IReadOnlyList<ExtraToken> Of(AddedTokens added, ClipTokenizer tokenizer, ClipTextConfig config)
    {
        var texts = new Dictionary<int, string>();
        foreach (var (text, id) in added.Ids.Where(t => t.Value >= tokenizer.VocabularySize || tokenizer.Find(t.Key) != t.Value))
        {
            if (id < tokenizer.VocabularySize || id >= config.Vocabulary)
            {
                throw new StableDiffusionException(
                    $"{added.Path}: the token '{text}' has the id {NumberText.Of(id)}; the vocabulary has {tokenizer.VocabularySize} tokens with the ids "
                    + $"from 0, and the text encoder's table {config.Vocabulary} rows");
            }

            if (!texts.TryAdd(id, text))
            {
                throw new StableDiffusionException($"{added.Path}: the tokens '{texts[id]}' and '{text}' both have the id {id}");
            }
        }

        return [.. texts.OrderBy(t => t.Key).Select(t => new ExtraToken(t.Value, Ids(added, t.Value, config)))];
    }

    /// <summary>A token of several vectors is stored as several, TEXT, TEXT_1, TEXT_2, …; its text stands for all of them, as in diffusers.</summary>
    private static int[] Ids(AddedTokens added, string text, ClipTextConfig config)
    {
        var ids = new List<int>();
        for (var next = text; added.Ids.TryGetValue(next, out var id); next = $"{text}_{ids.Count}")
        {
            ids.Add(id);
        }

        // Start and end take a place each.
        return ids.Count <= config.Tokens - 2 ? [.. ids]
            : throw new StableDiffusionException(
                $"{added.Path}: the token '{text}' has {ids.Count} vectors; a prompt has room for {config.Tokens - 2}");
    }
}
