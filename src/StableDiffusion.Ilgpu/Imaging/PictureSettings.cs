namespace StableDiffusion.Ilgpu.Imaging;

/// <summary>What a picture was made with, as its file tells it.</summary>
/// <param name="Prompt">The prompt; may be empty or span lines.</param>
/// <param name="NegativePrompt">The negative prompt; may be empty.</param>
/// <param name="Settings">
/// Keys and values in the order of the file, with the keys of AUTOMATIC1111's web UI; the names that values are given by are the writing
/// tool's own.
/// </param>
internal sealed record PictureSettings(string Prompt, string NegativePrompt, IReadOnlyList<(string Key, string Value)> Settings)
{
    /// <summary>Values of <see cref="Source"/>: this tool, and what tells no other one.</summary>
    public const string Own = "sdilgpu", WebUi = "AUTOMATIC1111";

    /// <summary>The tool that wrote them, as far as they tell.</summary>
    public string Source => this["Version"] switch
    {
        { } version when version.StartsWith(Own, StringComparison.Ordinal) => Own,
        { } version when version.StartsWith("stable-diffusion.cpp", StringComparison.Ordinal) => "stable-diffusion.cpp",
        { } version when version == ComfyUiGraph.Name => ComfyUiGraph.Name,
        _ => WebUi,
    };

    /// <summary>The value of a setting; null where there is none.</summary>
    public string? this[string key] => Settings.FirstOrDefault(s => string.Equals(s.Key, key, StringComparison.OrdinalIgnoreCase)).Value;

    /// <summary>Reads the settings of a PNG, JPEG or WebP file.</summary>
    /// <exception cref="StableDiffusionException">The file cannot be read, is damaged, or carries no settings.</exception>
    public static PictureSettings Read(string path)
    {
        var texts = PictureText.ReadAll(path);
        return Find(texts) ?? throw new StableDiffusionException(
            $"{path}: carries no settings of a generation"
            + (texts.Count == 0 ? "" : $" (its texts: {string.Join(", ", texts.Select(t => t.Keyword).Distinct())})"));
    }

    /// <summary>The settings among a file's texts, or null.</summary>
    public static PictureSettings? Find(IReadOnlyList<PictureText> texts)
    {
        foreach (var keyword in new[] { "parameters", "UserComment" })
        {
            if (texts.FirstOrDefault(t => t.Keyword == keyword && t.Text.Length > 0 && !IsJson(t.Text)) is { } text)
            {
                return InfoText.Parse(text.Text);
            }
        }

        // In WebP files the name stands in front of the text.
        string? Graph(string name) =>
            texts.FirstOrDefault(t => t.Keyword == name)?.Text
            ?? texts.FirstOrDefault(t => t.Text.StartsWith($"{name}:{{", StringComparison.OrdinalIgnoreCase))?.Text[(name.Length + 1)..];
        return ComfyUiGraph.Read(Graph("prompt"), Graph("workflow"));
    }

    /// <summary>Other tools' data; prompts may begin with the same bracket, but a line of settings follows them.</summary>
    private static bool IsJson(string text) => text.AsSpan().TrimStart().StartsWith("{") && !text.Contains("\nSteps: ", StringComparison.Ordinal);
}
