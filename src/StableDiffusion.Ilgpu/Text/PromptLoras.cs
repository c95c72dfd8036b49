using System.Buffers;
using System.Globalization;
using System.Text;

namespace StableDiffusion.Ilgpu.Text;

/// <summary>
/// The LoRAs that a prompt names, as AUTOMATIC1111's web UI writes them: <c>&lt;lora:NAME&gt;</c>, with a scale for both parts of the model
/// (<c>:0.8</c>) or the text encoder's and the UNet's (<c>:0.5:0.8</c>, <c>:te=0.5:unet=0.8</c>). <c>lyco</c> means the same as <c>lora</c>.
/// </summary>
/// <param name="Text">The prompt without them.</param>
/// <param name="Loras">Their names and scales, in order.</param>
internal sealed record PromptLoras(string Text, IReadOnlyList<(string Name, LoraScale Scale)> Loras)
{
    private const string TextEncoderKey = "te", UNetKey = "unet";

    private const int StartLength = 6;

    private static readonly SearchValues<string> Starts = SearchValues.Create(["<lora:", "<lyco:"], StringComparison.Ordinal);

    /// <exception cref="StableDiffusionException">A tag cannot be read.</exception>
    public static PromptLoras Parse(string prompt)
    {
        var text = new StringBuilder();
        var loras = new List<(string, LoraScale)>();
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

    private static int Find(string prompt, int position) =>
        prompt.AsSpan(position).IndexOfAny(Starts) is >= 0 and var distance ? position + distance : -1;

    /// <summary>As in the web UI, named scales count before those by place, and what is not said of the UNet is the text encoder's.</summary>
    private static (string Name, LoraScale Scale) Read(string tag)
    {
        var parts = tag[StartLength..^1].Split(':');
        var (placed, named) = (new List<double>(), new Dictionary<string, double>());
        foreach (var part in parts[1..])
        {
            var (key, value) = part.Split('=', 2) is [var k, var v] ? (k, v) : (null, part);
            if (key is not (null or TextEncoderKey or UNetKey))
            {
                throw Error(tag, $": '{key}' is not known");
            }

            var number = double.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out var scale) && double.IsFinite(scale)
                ? scale : throw Error(tag);
            if (key is null)
            {
                placed.Add(number);
            }
            else if (!named.TryAdd(key, number))
            {
                throw Error(tag, $": '{key}' is there twice");
            }
        }

        if (parts[0].Length == 0 || placed.Count > 2)
        {
            throw Error(tag, placed.Count > 2 ? ": a third number (dyn) is not known" : "");
        }

        var textEncoder = named.GetValueOrDefault(TextEncoderKey, placed is [var first, ..] ? first : 1);
        return (parts[0], new(textEncoder, named.GetValueOrDefault(UNetKey, placed is [_, var second] ? second : textEncoder)));
    }

    private static StableDiffusionException Error(string tag, string reason = "") => new(
        $"the prompt's '{tag}' cannot be read{reason}; "
        + "valid: <lora:NAME:SCALE>, <lora:NAME>, <lora:NAME:TE:UNET>, <lora:NAME:te=TE:unet=UNET>");
}
