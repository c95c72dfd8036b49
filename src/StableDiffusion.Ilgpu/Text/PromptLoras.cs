using System.Globalization;
using System.Text;

namespace StableDiffusion.Ilgpu.Text;

/// <summary>
/// The LoRAs that a prompt names, as AUTOMATIC1111's web UI writes them: <c>&lt;lora:NAME:SCALE&gt;</c> or <c>&lt;lora:NAME&gt;</c>.
/// </summary>
/// <param name="Text">The prompt without them.</param>
/// <param name="Loras">Their names and scales, in order.</param>
internal sealed record PromptLoras(string Text, IReadOnlyList<(string Name, double Scale)> Loras)
{
    private const string Start = "<lora:";

    /// <exception cref="StableDiffusionException">A tag cannot be read.</exception>
    public static PromptLoras Parse(string prompt)
    {
        var text = new StringBuilder();
        var loras = new List<(string, double)>();
        var position = 0;
        for (var start = Find(prompt, 0); start >= 0; start = Find(prompt, position))
        {
            var end = prompt.IndexOf('>', start);
            var tag = end < 0 ? prompt[start..] : prompt[start..(end + 1)];
            loras.Add(end < 0 ? throw Error(tag) : Read(tag));
            text.Append(prompt, position, start - position);
            position = end + 1;
        }

        return new PromptLoras(text.Append(prompt, position, prompt.Length - position).ToString(), loras);
    }

    private static int Find(string prompt, int position) => prompt.IndexOf(Start, position, StringComparison.Ordinal);

    private static (string Name, double Scale) Read(string tag) => tag[Start.Length..^1].Split(':') switch
    {
        [{ Length: > 0 } name] => (name, 1),
        [{ Length: > 0 } name, var scale] when double.TryParse(scale, NumberStyles.Float, CultureInfo.InvariantCulture, out var number)
            && double.IsFinite(number) => (name, number),
        _ => throw Error(tag),
    };

    private static StableDiffusionException Error(string tag) =>
        new($"the prompt's '{tag}' cannot be read; valid: <lora:NAME:SCALE>, <lora:NAME>");
}
