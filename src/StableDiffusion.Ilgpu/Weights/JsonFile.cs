using System.Text.Json;
using System.Text.Json.Nodes;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// Reads JSON files whole; a name that occurs twice in an object is an error, because readers disagree about which one counts.
/// </summary>
internal static class JsonFile
{
    private static readonly JsonDocumentOptions Options = new() { AllowDuplicateProperties = false };

    /// <summary>The object that the file holds.</summary>
    /// <exception cref="StableDiffusionException">The file cannot be read, or is not a JSON object.</exception>
    public static JsonElement Read(string path)
    {
        try
        {
            // ReadAllText drops a byte order mark, which the JSON parser would refuse.
            return ParseObject(File.ReadAllText(path), path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StableDiffusionException($"{path}: cannot be read: {e.Message}", e);
        }
    }

    public static JsonElement ParseObject(string json, string description) =>
        ParseObject(description, () => JsonDocument.Parse(json, Options));

    /// <summary>The same object with one property set to a text.</summary>
    public static JsonElement With(JsonElement json, string key, string value, string description)
    {
        var node = JsonObject.Create(json)!;
        node[key] = value;
        return ParseObject(node.ToJsonString(), description);
    }

    /// <param name="json">UTF-8 without a byte order mark.</param>
    /// <param name="description">What messages call the text.</param>
    public static JsonElement ParseObject(ReadOnlyMemory<byte> json, string description) =>
        ParseObject(description, () => JsonDocument.Parse(json, Options));

    private static JsonElement ParseObject(string description, Func<JsonDocument> parse)
    {
        try
        {
            using var document = parse();
            DecodeTexts(document.RootElement);
            return document.RootElement.ValueKind == JsonValueKind.Object
                ? document.RootElement.Clone()
                : throw new StableDiffusionException($"{description}: is not a JSON object");
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // InvalidOperationException: a text that is not valid UTF-8, or half of a surrogate pair.
            throw new StableDiffusionException($"{description}: is not valid JSON: {e.Message.ReplaceLineEndings(" ")}", e);
        }
    }

    /// <summary>The parser decodes names and texts only when they are asked for; here, so that a damaged one shows now.</summary>
    private static void DecodeTexts(JsonElement element)
    {
        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                foreach (var property in element.EnumerateObject())
                {
                    _ = property.Name;
                    DecodeTexts(property.Value);
                }

                break;
            case JsonValueKind.Array:
                foreach (var item in element.EnumerateArray())
                {
                    DecodeTexts(item);
                }

                break;
            case JsonValueKind.String:
                _ = element.GetString();
                break;
            default:
                break;
        }
    }
}
