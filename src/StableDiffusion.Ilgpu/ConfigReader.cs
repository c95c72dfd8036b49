using System.Text.Json;

namespace StableDiffusion.Ilgpu;

/// <summary>Reads diffusers' JSON configurations; a key that is left out takes the class's default.</summary>
internal sealed class ConfigReader(JsonElement json, string description)
{
    public int Int(string key, int? fallback = null) => Read(key, "an integer", e => e.GetInt32(), fallback);

    /// <summary>An integer from 1; what a damaged file says must not decide how much is computed.</summary>
    public int Size(string key, int most, int? fallback = null) => InRange(key, Int(key, fallback), 1, most);

    /// <summary>A list of them, of at least one and at most <paramref name="length"/>.</summary>
    public int[] Sizes(string key, int most, int length)
    {
        var sizes = Ints(key);
        return sizes.Length >= 1 && sizes.Length <= length
            ? [.. sizes.Select(size => InRange(key, size, 1, most))]
            : throw Error(key, $"has {sizes.Length} entries; valid: 1 to {length}");
    }

    /// <summary>The value, where it lies in a range.</summary>
    public int InRange(string key, int value, int least, int most) =>
        value >= least && value <= most ? value : throw Error(key, $"is {NumberText.Of(value)}; valid: {NumberText.Of(least)} to {most}");

    /// <summary>A number above 0.</summary>
    public double Positive(string key, double fallback) =>
        Number(key, fallback) is var value && value > 0 && double.IsFinite(value) ? value : throw Error(key, $"is {NumberText.Of(value)}; it must be above 0");

    public double Number(string key, double? fallback = null) => Read(key, "a number", e => e.GetDouble(), fallback);

    public bool Flag(string key, bool fallback) => Read<bool>(key, "true or false", e => e.GetBoolean(), fallback);

    public int[] Ints(string key) => ReadValue(key, "a list of integers", e => e.EnumerateArray().Select(i => i.GetInt32()).ToArray());

    public double[] Numbers(string key) => ReadValue(key, "a list of numbers", e => e.EnumerateArray().Select(i => i.GetDouble()).ToArray());

    public string[] Names(string key) => ReadValue(key, "a list of names", e => e.EnumerateArray().Select(i => i.GetString() ?? throw new FormatException()).ToArray());

    public string Text(string key, string fallback) => Has(key) ? ReadValue(key, "a text", e => e.GetString()!) : fallback;

    /// <summary>One integer for every level, or a list of them.</summary>
    public int[] PerLevel(string key, int levels, int fallback)
    {
        var values = !Has(key) ? [fallback]
            : json.GetProperty(key).ValueKind == JsonValueKind.Array ? Ints(key) : [Int(key)];
        return values.Length == levels ? values
            : values.Length == 1 ? [.. Enumerable.Repeat(values[0], levels)]
            : throw Error(key, $"has {values.Length} entries for {levels} levels");
    }

    /// <summary>Refuses a value that changes the computation in a way that is not built.</summary>
    public void Require(string key, string expected)
    {
        if (Has(key) && !string.Equals(json.GetProperty(key).ToString(), expected, StringComparison.OrdinalIgnoreCase))
        {
            throw Error(key, $"is {json.GetProperty(key)}; only {expected} is supported");
        }
    }

    /// <summary>The same for a number, however it is written.</summary>
    public void Require(string key, double expected)
    {
        if (Number(key, expected) is var value && value != expected)
        {
            throw Error(key, $"is {NumberText.Of(value)}; only {NumberText.Of(expected)} is supported");
        }
    }

    /// <summary>Refuses any value: what it would add to the model is not built.</summary>
    public void RequireNone(string key, string supported = "only null is supported")
    {
        if (Has(key))
        {
            throw Error(key, $"is {json.GetProperty(key)}; {supported}");
        }
    }

    public StableDiffusionException Error(string key, string problem) => new($"{description}: {key} {problem}");

    /// <summary>Whether the key is there and not null.</summary>
    public bool Has(string key) => json.TryGetProperty(key, out var e) && e.ValueKind != JsonValueKind.Null;

    private T Read<T>(string key, string kind, Func<JsonElement, T> read, T? fallback) where T : struct =>
        Has(key) ? ReadValue(key, kind, read) : fallback ?? throw Error(key, "is missing");

    private T ReadValue<T>(string key, string kind, Func<JsonElement, T> read)
    {
        if (!Has(key))
        {
            throw Error(key, "is missing");
        }

        try
        {
            return read(json.GetProperty(key));
        }
        catch (Exception e) when (e is InvalidOperationException or FormatException)
        {
            throw Error(key, $"is not {kind}");
        }
    }
}
