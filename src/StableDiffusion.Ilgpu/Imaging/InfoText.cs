using System.Text;
using System.Text.Json;

namespace StableDiffusion.Ilgpu.Imaging;

/// <summary>The text of the PNG chunk <c>parameters</c>, as AUTOMATIC1111's web UI writes it and other tools read it.</summary>
internal static class InfoText
{
    private const string Negative = "Negative prompt:";

    // Ours, and only written where the layout alone would give back other prompts.
    private const string ExactPrompt = "Exact prompt";
    private const string ExactNegativePrompt = "Exact negative prompt";

    /// <summary>Fewer pairs on the last line do not make it the settings, as the web UI reads it.</summary>
    private const int FewestSettings = 3;

    /// <summary>Prompt, negative prompt (left out when empty) and one line of settings.</summary>
    /// <param name="prompt">The prompt; may be empty or span lines.</param>
    /// <param name="negativePrompt">The negative prompt; may be empty.</param>
    /// <param name="settings">Key and value in the order of the line; a null value leaves its key out.</param>
    public static string Format(string prompt, string negativePrompt, IEnumerable<(string Key, string? Value)> settings)
    {
        List<string> line = [.. settings.Where(s => s.Value is not null).Select(s => $"{s.Key}: {Quote(s.Value!)}")];
        var text = Join(prompt, negativePrompt, line);
        if (line.Count is > 0 and < FewestSettings)
        {
            // No reader takes these for settings.
            return text;
        }

        var read = Parse(text);
        if (read.Prompt != prompt)
        {
            line.Add($"{ExactPrompt}: {JsonString(prompt)}");
        }

        if (read.NegativePrompt != negativePrompt)
        {
            line.Add($"{ExactNegativePrompt}: {JsonString(negativePrompt)}");
        }

        return Join(prompt, negativePrompt, line);
    }

    /// <summary>
    /// Takes such a text apart, by the rules of the web UI's own reader: the last line has the settings if it has at least three, and of
    /// the lines before it those from "Negative prompt:" on are the negative prompt. The unquoted JSON at the end of stable-diffusion.cpp's
    /// line is one value. Any text can be read; one without settings is all prompt.
    /// </summary>
    public static PictureSettings Parse(string text)
    {
        var trimmed = text.Trim();
        var lastLine = trimmed.LastIndexOf('\n') + 1;
        var settings = SettingsLine.Parse(trimmed[lastLine..]);
        var exactPrompt = Take(ExactPrompt);
        var exactNegative = Take(ExactNegativePrompt);
        var prompts = trimmed[..Math.Max(0, lastLine - 1)];
        if (settings.Count < FewestSettings && !(settings.Count == 0 && (exactPrompt ?? exactNegative) is not null))
        {
            (prompts, exactPrompt, exactNegative) = (trimmed, null, null);
            settings.Clear();
        }

        var (prompt, negative) = Split(prompts);
        return new(exactPrompt ?? prompt, exactNegative ?? negative, settings);

        string? Take(string key)
        {
            var index = settings.FindIndex(s => s.Key == key);
            var value = index < 0 ? null : settings[index].Value;
            settings.RemoveAll(s => s.Key == key);
            return value;
        }
    }

    private static string Join(string prompt, string negativePrompt, List<string> line)
    {
        var text = new StringBuilder(prompt);
        if (negativePrompt.Length > 0)
        {
            text.Append('\n').Append(Negative).Append(' ').Append(negativePrompt);
        }

        return text.Append('\n').AppendJoin(", ", line).ToString().Trim();
    }

    private static (string Prompt, string Negative) Split(string text)
    {
        var start = text.StartsWith(Negative, StringComparison.Ordinal) ? 0 : text.IndexOf("\n" + Negative, StringComparison.Ordinal) + 1;
        if (start == 0 && !text.StartsWith(Negative, StringComparison.Ordinal))
        {
            return (text, "");
        }

        var negative = text[(start + Negative.Length)..];
        return (text[..Math.Max(0, start - 1)], negative.StartsWith(' ') ? negative[1..] : negative);
    }

    // A quotation mark in front, and spaces around, would be taken off by readers.
    private static string Quote(string value) =>
        value.AsSpan().ContainsAny(",:") || value.Any(char.IsControl) || value.StartsWith('"') || value.AsSpan().Trim().Length != value.Length
            ? JsonString(value)
            : value;

    // JsonSerializer escapes more than the web UI does, which keeps every character outside ASCII.
    private static string JsonString(string value)
    {
        var json = new StringBuilder("\"");
        foreach (var c in value)
        {
            json.Append(c switch
            {
                '"' => "\\\"",
                '\\' => "\\\\",
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                '\b' => "\\b",
                '\f' => "\\f",
                < ' ' => $"\\u{(int)c:x4}",
                _ => c.ToString(),
            });
        }

        return json.Append('"').ToString();
    }
}
