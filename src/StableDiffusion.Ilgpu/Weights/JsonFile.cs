using System.Text.Json;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>Reads small JSON files; a name that occurs twice in an object is an error, because readers disagree about which one counts.</summary>
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

    /// <param name="json">UTF-8 without a byte order mark.</param>
    /// <param name="description">What messages call the text.</param>
    public static JsonElement ParseObject(ReadOnlyMemory<byte> json, string description) =>
        ParseObject(description, () => JsonDocument.Parse(json, Options));

    private static JsonElement ParseObject(string description, Func<JsonDocument> parse)
    {
        try
        {
            using var document = parse();
            return document.RootElement.ValueKind == JsonValueKind.Object
                ? document.RootElement.Clone()
                : throw new StableDiffusionException($"{description}: is not a JSON object");
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // InvalidOperationException: a name that is not valid UTF-8 or UTF-16.
            throw new StableDiffusionException($"{description}: is not valid JSON: {e.Message.ReplaceLineEndings(" ")}", e);
        }
    }
}
