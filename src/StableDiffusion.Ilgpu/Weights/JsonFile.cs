using System.Numerics;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Unicode;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// Reads JSON files whole; a name that occurs twice in an object is an error, because readers disagree about which one counts.
/// </summary>
internal static class JsonFile
{
    /// <summary>More than any configuration or index of shards has.</summary>
    private const long LargestFile = 4 << 20;

    // What the parser and its caller take, at most, for each token: a row of the parser's table, which grows by copying; for each byte of a
    // name, which is decoded several times; and for each byte of a text that must be decoded to see whether it is sound.
    private const long BytesForToken = 64, BytesForNameByte = 10, BytesForTextByte = 2;

    private const int LongestQuote = 200;

    private static readonly JsonDocumentOptions Options = new() { AllowDuplicateProperties = false };

    /// <summary>The object that the file holds.</summary>
    /// <exception cref="StableDiffusionException">The file cannot be read, or is not a JSON object.</exception>
    public static JsonElement Read(string path)
    {
        try
        {
            ReadOnlyMemory<byte> bytes = BoundedFile.Read(path, LargestFile, "a model's JSON file");
            var start = bytes.Span.StartsWith("\ufeff"u8) ? "\ufeff"u8.Length : 0;
            return ParseObject(bytes[start..], path, new AllocationBudget(path, bytes.Length));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw StableDiffusionException.CannotRead(path, e);
        }
    }

    public static JsonElement ParseObject(string json, string description) =>
        ParseObject(description, () => JsonDocument.Parse(json, Options));

    /// <summary>An element as it stands in the file; of a long one the start. For messages.</summary>
    public static string Quote(JsonElement element)
    {
        var text = JsonMarshal.GetRawUtf8Value(element);
        return text.Length <= LongestQuote ? element.GetRawText() : $"{Encoding.UTF8.GetString(text[..LongestQuote])}…";
    }

    /// <summary>The same object with one property set.</summary>
    public static JsonElement With(JsonElement json, string key, JsonNode value, string description)
    {
        var node = JsonObject.Create(json)!;
        node[key] = value;
        return ParseObject(node.ToJsonString(), description);
    }

    /// <param name="json">UTF-8 without a byte order mark; the result refers to it, so it must stay as it is.</param>
    /// <param name="description">What messages call the text.</param>
    /// <param name="budget">Taken from before the text is parsed.</param>
    public static JsonElement ParseObject(ReadOnlyMemory<byte> json, string description, AllocationBudget budget)
    {
        // The parser's table begins with as many bytes as the text has, in an array of the pool.
        budget.Take((long)BitOperations.RoundUpToPowerOf2((ulong)json.Length) + CostOfTokens(json.Span));
        return ParseObject(description, () => JsonDocument.Parse(json, Options));
    }

    /// <summary>Whether a text can be damaged although the parser took it: half of a surrogate pair, or bytes that are not UTF-8.</summary>
    private static bool MustBeDecoded(ReadOnlySpan<byte> text) => text.IndexOf("\\u"u8) >= 0 || !Utf8.IsValid(text);

    /// <summary>Of the tokens up to the end or to the first one that is not JSON.</summary>
    private static long CostOfTokens(ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json);
        var cost = BytesForToken;
        try
        {
            while (reader.Read())
            {
                cost += BytesForToken + reader.TokenType switch
                {
                    JsonTokenType.PropertyName => BytesForNameByte * reader.ValueSpan.Length,
                    JsonTokenType.String when MustBeDecoded(reader.ValueSpan) => BytesForTextByte * reader.ValueSpan.Length,
                    _ => 0,
                };
            }
        }
        catch (JsonException)
        {
            // The parser will say it better.
        }

        return cost;
    }

    private static JsonElement ParseObject(string description, Func<JsonDocument> parse)
    {
        try
        {
            // Not disposed: the element reads from the document, and a copy of it would take as much again.
            var document = parse();
            DecodeTexts(document.RootElement);
            return document.RootElement.ValueKind == JsonValueKind.Object
                ? document.RootElement
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
                if (MustBeDecoded(JsonMarshal.GetRawUtf8Value(element)))
                {
                    _ = element.GetString();
                }

                break;
            default:
                break;
        }
    }
}
