using System.CommandLine;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using StableDiffusion.Ilgpu.Imaging;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary><c>sdilgpu metadata</c>: prints what a picture was made with.</summary>
internal static class MetadataCommand
{
    public static Command Create(CommandContext context)
    {
        var image = new Argument<string>("image")
        {
            Description = "PNG, JPEG or WebP file of this tool, AUTOMATIC1111's web UI, ComfyUI or stable-diffusion.cpp",
        };
        var format = SharedOptions.Choice("--metadata-format", "How to print it: text, json", "text", FindFormat);
        var json = new Option<bool>("--json") { Description = "The same as --metadata-format json" };
        var command = new Command("metadata", "Print the settings that a picture carries.") { image, format, json, SharedOptions.Verbose() };
        command.SetAction(parsed =>
        {
            var settings = PictureSettings.Read(parsed.GetValue(image)!);
            var asJson = parsed.GetValue(json) || (bool)FindFormat(parsed.GetValue(format)!);
            context.Output.WriteLine(asJson ? ToJson(settings) : ToText(settings));
        });
        return command;
    }

    /// <summary>For people: prompts may have several lines.</summary>
    private static string ToText(PictureSettings settings) => string.Join(
        '\n',
        [
            $"written by: {settings.Source}", ShownText.Lines($"prompt: {settings.Prompt}"), ShownText.Lines($"negative prompt: {settings.NegativePrompt}"),
            .. settings.Settings.Select(s => ShownText.OneLine($"{s.Key}: {s.Value}")),
        ]);

    /// <summary>A key that a picture has twice is there twice, as JSON allows. Nothing is lost: what would steer a terminal is escaped.</summary>
    private static string ToJson(PictureSettings settings)
    {
        using var buffer = new MemoryStream();
        using (var writer = new Utf8JsonWriter(buffer, new() { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            writer.WriteStartObject();
            writer.WriteString("written_by", settings.Source);
            writer.WriteString("prompt", settings.Prompt);
            writer.WriteString("negative_prompt", settings.NegativePrompt);
            writer.WriteStartObject("settings");
            foreach (var (key, value) in settings.Settings)
            {
                writer.WriteString(key, value);
            }

            writer.WriteEndObject();
            writer.WriteEndObject();
        }

        // Others the encoder escapes.
        var json = new StringBuilder(Encoding.UTF8.GetString(buffer.ToArray()));
        foreach (var c in ShownText.Turns)
        {
            json.Replace($"{c}", $"\\u{(int)c:X4}");
        }

        return json.ToString();
    }

    private static object FindFormat(string name) => name.ToLowerInvariant() switch
    {
        "text" => false,
        "json" => true,
        _ => throw new StableDiffusionException($"unknown metadata format \"{name}\": choose one of text, json"),
    };
}
