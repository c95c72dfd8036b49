using System.Text.Json;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>Tokens that a tokenizer's folder lists with their ids: some of its vocabulary, and those that training has added behind it.</summary>
/// <param name="Path">The file that lists them.</param>
/// <param name="Ids">The ids by the tokens' texts.</param>
internal sealed record AddedTokens(string Path, IReadOnlyDictionary<string, int> Ids)
{
    public const string FileName = "added_tokens.json";

    /// <summary>Newer folders list them in the tokenizer's configuration instead, by id.</summary>
    private const string ConfigName = "tokenizer_config.json", ConfigKey = "added_tokens_decoder";

    /// <summary>More than a prompt has room for; what a damaged file says must not fill the screen.</summary>
    private const int LongestText = 256;

    /// <summary>What the folder lists; null where it has no list.</summary>
    /// <exception cref="StableDiffusionException">The list is damaged.</exception>
    public static AddedTokens? In(string folder)
    {
        var (path, config) = (System.IO.Path.Combine(folder, FileName), System.IO.Path.Combine(folder, ConfigName));
        if (File.Exists(path))
        {
            return Of(path, JsonFile.Read(path).EnumerateObject().Select(t => (t.Name, Id(path, t.Name, t.Value))));
        }

        if (!File.Exists(config) || !JsonFile.Read(config).TryGetProperty(ConfigKey, out var list) || list.ValueKind == JsonValueKind.Null)
        {
            return null;
        }

        return list.ValueKind == JsonValueKind.Object
            ? Of(config, list.EnumerateObject().Select(t => (Content(config, t), Id(config, t))))
            : throw new StableDiffusionException($"{config}: {ConfigKey} is {JsonFile.Quote(list)}, not an object of ids and tokens");
    }

    private static AddedTokens Of(string path, IEnumerable<(string Text, int Id)> tokens)
    {
        var ids = new Dictionary<string, int>();
        foreach (var (text, id) in tokens)
        {
            if (text.Length is 0 or > LongestText)
            {
                throw new StableDiffusionException($"{path}: the token with the id {NumberText.Of(id)} has {text.Length} letters; valid: 1 to {LongestText}");
            }

            if (!ids.TryAdd(text, id))
            {
                throw new StableDiffusionException($"{path}: the token '{text}' has the ids {NumberText.Of(ids[text])} and {NumberText.Of(id)}");
            }
        }

        return new AddedTokens(path, ids);
    }

    private static int Id(string path, string text, JsonElement id) => id.ValueKind == JsonValueKind.Number && id.TryGetInt32(out var number)
        ? number
        : throw new StableDiffusionException($"{path}: the id of the token '{Start(text)}' is {JsonFile.Quote(id)}, not an integer");

    private static int Id(string path, JsonProperty token) => int.TryParse(token.Name, out var number)
        ? number
        : throw new StableDiffusionException($"{path}: {ConfigKey} has the id '{Start(token.Name)}', not an integer");

    private static string Content(string path, JsonProperty token) =>
        token.Value.ValueKind == JsonValueKind.Object && token.Value.TryGetProperty("content", out var content)
        && content.ValueKind == JsonValueKind.String
            ? content.GetString()!
            : throw new StableDiffusionException(
                $"{path}: {ConfigKey} has {JsonFile.Quote(token.Value)} for the id '{Start(token.Name)}', not an object with a text as content");

    private static string Start(string text) => text.Length <= LongestText ? text : $"{text[..LongestText]}…";
}
