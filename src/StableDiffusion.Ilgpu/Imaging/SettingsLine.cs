using System.Text;
using System.Text.Json;

namespace StableDiffusion.Ilgpu.Imaging;

/// <summary>The line "key: value, key: value" of a picture's settings.</summary>
internal static class SettingsLine
{
    /// <summary>The key of what stable-diffusion.cpp ends with.</summary>
    public const string CppJson = "SDCPP";

    /// <summary>
    /// The pairs that AUTOMATIC1111's web UI finds with
    /// <c>\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)</c>, in one pass; quoted values are unquoted. What fits nothing is left out.
    /// </summary>
    public static List<(string Key, string Value)> Parse(string line)
    {
        var (pairs, json) = CutJson(line);
        var settings = new List<(string Key, string Value)>();
        var mayBeQuoted = true;
        for (var place = 0; place < pairs.Length;)
        {
            var colon = pairs.IndexOf(':', place);
            if (colon < 0)
            {
                break;
            }

            var key = KeyBefore(pairs, place, colon);
            if (key is null)
            {
                place = colon + 1;
                continue;
            }

            var start = colon + 1;
            while (start < pairs.Length && char.IsWhiteSpace(pairs[start]))
            {
                start++;
            }

            var end = mayBeQuoted && start < pairs.Length && pairs[start] == '"' ? EndOfQuotes(pairs, start) : 0;

            // Without a closing mark from here on there is none further on either; looking again and again would take squared time.
            mayBeQuoted &= end >= 0;
            var isQuoted = end > start + 2 && (end == pairs.Length || pairs[end] == ',');
            if (!isQuoted)
            {
                end = pairs.IndexOf(',', start);
                end = end < 0 ? pairs.Length : end;
            }

            settings.Add((key, Unquote(pairs[start..end])));
            place = end + 1;
        }

        if (json is not null)
        {
            settings.Add((CppJson, json));
        }

        return settings;
    }

    /// <summary>Letters, digits, spaces, hyphens and strokes up to the colon, from the first letter or digit on; at least two.</summary>
    private static string? KeyBefore(string line, int from, int colon)
    {
        var start = colon;
        while (start > from && (IsWord(line[start - 1]) || line[start - 1] is ' ' or '-' or '/'))
        {
            start--;
        }

        while (start < colon && !IsWord(line[start]))
        {
            start++;
        }

        return colon - start >= 2 ? line[start..colon] : null;
    }

    private static bool IsWord(char c) => char.IsLetterOrDigit(c) || c == '_';

    /// <returns>Behind the closing quotation mark, or -1 without one.</returns>
    private static int EndOfQuotes(string line, int start)
    {
        for (var i = start + 1; i < line.Length; i++)
        {
            if (line[i] == '"')
            {
                return i + 1;
            }

            i += line[i] == '\\' ? 1 : 0;
        }

        return -1;
    }

    private static string Unquote(string value)
    {
        if (value.Length < 2 || value[0] != '"' || value[^1] != '"')
        {
            return value;
        }

        try
        {
            return JsonSerializer.Deserialize<JsonElement>(value).GetString()!;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return value;
        }
    }

    /// <summary>stable-diffusion.cpp ends its line with JSON that is not quoted.</summary>
    private static (string Pairs, string? Json) CutJson(string line)
    {
        const string start = $"{CppJson}: {{";
        var place = line.StartsWith(start, StringComparison.Ordinal) ? 0 : line.IndexOf($", {start}", StringComparison.Ordinal);
        if (place < 0)
        {
            return (line, null);
        }

        var json = line[line.IndexOf('{', place)..].TrimEnd();
        var reader = new Utf8JsonReader(Encoding.UTF8.GetBytes(json));
        try
        {
            reader.Read();
            reader.Skip();
            return reader.BytesConsumed == Encoding.UTF8.GetByteCount(json) ? (line[..place], json) : (line, null);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return (line, null);
        }
    }
}
