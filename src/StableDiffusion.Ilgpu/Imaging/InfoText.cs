using System.Text;

namespace StableDiffusion.Ilgpu.Imaging;

/// <summary>The text of the PNG chunk <c>parameters</c>, as AUTOMATIC1111's web UI writes it and other tools read it.</summary>
internal static class InfoText
{
    /// <summary>Prompt, negative prompt (left out when empty) and one line of settings.</summary>
    /// <param name="prompt">The prompt; may be empty or span lines.</param>
    /// <param name="negativePrompt">The negative prompt; may be empty.</param>
    /// <param name="settings">Key and value in the order of the line; a null value leaves its key out.</param>
    public static string Format(string prompt, string negativePrompt, IEnumerable<(string Key, string? Value)> settings)
    {
        var text = new StringBuilder(prompt);
        if (negativePrompt.Length > 0)
        {
            text.Append("\nNegative prompt: ").Append(negativePrompt);
        }

        text.Append('\n').AppendJoin(
            ", ", settings.Where(s => s.Value is not null).Select(s => $"{s.Key}: {Quote(s.Value!)}"));
        return text.ToString().Trim();
    }

    private static string Quote(string value) => value.AsSpan().ContainsAny(",:\n") ? JsonString(value) : value;

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
