using System.Text.Json;
using System.Text.RegularExpressions;

// The inputs of a node by their names.
using Node = System.Collections.Generic.Dictionary<string, System.Text.Json.JsonElement>;

namespace StableDiffusion.Ilgpu.Imaging;

/// <summary>
/// The settings in the node graphs that ComfyUI puts into pictures: <c>prompt</c>, the nodes as they ran, by their ids, with inputs that
/// are values or <c>[id, output]</c>; or, without it, <c>workflow</c>, the editor's document.
/// </summary>
internal sealed partial class ComfyUiGraph
{
    /// <summary>What stands for the version, which the graphs do not tell.</summary>
    public const string Name = "ComfyUI";

    /// <summary>Nodes that are followed from one to the next; a damaged graph may lead in circles.</summary>
    private const int MostHops = 100;

    /// <summary>Samplers that are looked at, each with all that leads to it; a graph may be made of them.</summary>
    private const int MostSamplers = 100;

    /// <summary>By their ids. In a node of many inputs, to which many lead, none must be searched for.</summary>
    private readonly Dictionary<string, Node> nodes = [];

    private ComfyUiGraph(JsonElement prompt)
    {
        foreach (var node in prompt.EnumerateObject())
        {
            if (node.Value.ValueKind == JsonValueKind.Object && node.Value.TryGetProperty("inputs", out var inputs) && inputs.ValueKind == JsonValueKind.Object)
            {
                nodes[node.Name] = inputs.EnumerateObject().GroupBy(i => i.Name).ToDictionary(g => g.Key, g => g.Last().Value);
            }
        }
    }

    /// <returns>Null where neither text holds a sampler's node.</returns>
    public static PictureSettings? Read(string? prompt, string? workflow) =>
        SettingsOf(() => Parse(prompt)) ?? SettingsOf(() => ComfyUiWorkflow.ToPrompt(Parse(workflow)));

    private static PictureSettings? SettingsOf(Func<JsonElement?> graph)
    {
        try
        {
            return graph() is { ValueKind: JsonValueKind.Object } prompt ? new ComfyUiGraph(prompt).Settings() : null;
        }
        catch (InvalidOperationException)
        {
            // A text with half a surrogate pair is valid JSON and no string.
            return null;
        }
    }

    private static JsonElement? Parse(string? json)
    {
        if (json is null)
        {
            return null;
        }

        try
        {
            // Python writes numbers that JSON does not have.
            var valid = StringOrNonNumber().Replace(json, m => m.Value[0] == '"' ? m.Value : "null");
            using var document = JsonDocument.Parse(valid);
            return document.RootElement.Clone();
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private PictureSettings? Settings()
    {
        // Of several samplers the one that starts from an empty latent makes the picture; the others work on it.
        var samplers = nodes.Values.Where(n => Value(n, "steps") is not null && Value(n, "sampler_name") is not null).Take(MostSamplers).ToList();
        if (samplers.Count == 0)
        {
            return null;
        }

        var sampler = samplers.FirstOrDefault(IsFirst, samplers[0]);
        var latent = Follow(sampler, n => Value(n, "width") is not null && Value(n, "height") is not null, "latent_image", "samples", "latent");
        var model = Follow(sampler, n => ModelName(n) is not null, "model");
        var (prompt, clip) = Text(sampler, "positive");
        var (negative, _) = Text(sampler, "negative");
        var skip = clip is { } text ? Follow(text, n => Value(n, "stop_at_clip_layer") is not null, "clip") : null;
        (string Key, string? Value)[] settings =
        [
            ("Steps", Value(sampler, "steps")),
            ("Sampler", Value(sampler, "sampler_name")),
            ("Schedule type", Value(sampler, "scheduler")),
            ("CFG scale", Value(sampler, "cfg")),
            ("Seed", Value(sampler, "seed") ?? Value(sampler, "noise_seed")),
            ("Size", latent is { } l ? $"{Value(l, "width")}x{Value(l, "height")}" : null),
            ("Model", model is { } m ? ModelName(m) : null),
            ("Denoising strength", Value(sampler, "denoise") is { } strength && strength != "1" ? strength : null),
            ("Clip skip", skip is { } s ? Value(s, "stop_at_clip_layer")!.TrimStart('-') : null),

            // Its noise is PyTorch's on the CPU, whatever it runs on.
            ("RNG", "CPU"),
            ("Version", Name),
        ];
        return new(prompt, negative, [.. settings.Where(v => v.Value is not null).Select(v => (v.Key, v.Value!))]);
    }

    private bool IsFirst(Node sampler) =>
        Follow(sampler, n => Value(n, "width") is not null, "latent_image") is not null
        && Follow(sampler, n => Value(n, "steps") is not null, "latent_image", "samples") is null;

    /// <summary>The first text that an input leads to, and its node.</summary>
    private (string Text, Node? Node) Text(Node from, string input)
    {
        var node = Follow(
            from, n => TextOf(n) is not null, input, "conditioning", "conditioning_1", "conditioning_to", "positive", "text", "string", "value");
        return (node is { } found ? TextOf(found)! : "", node);
    }

    private static string? TextOf(Node node)
    {
        foreach (var name in new[] { "text", "text_g", "string", "value", "prompt" })
        {
            if (node.TryGetValue(name, out var text) && text.ValueKind == JsonValueKind.String)
            {
                return text.GetString();
            }
        }

        return null;
    }

    private static string? ModelName(Node node) => Value(node, "ckpt_name") ?? Value(node, "unet_name");

    /// <summary>The next node along links of these names, the first that has one, that fits; null where the way ends.</summary>
    private Node? Follow(Node from, Predicate<Node> fits, params string[] links)
    {
        var node = from;
        for (var i = 0; i < MostHops; i++)
        {
            var next = links.Select(l => Linked(node, l)).FirstOrDefault(n => n is not null);
            if (next is null || fits(next))
            {
                return next;
            }

            node = next;
        }

        return null;
    }

    private Node? Linked(Node node, string input) =>
        node.TryGetValue(input, out var link) && link.ValueKind == JsonValueKind.Array && link.GetArrayLength() == 2
        && nodes.TryGetValue(link[0].ToString(), out var found)
            ? found
            : null;

    /// <summary>A number or text that stands in the node itself.</summary>
    private static string? Value(Node node, string input) =>
        !node.TryGetValue(input, out var value) ? null
        : value.ValueKind == JsonValueKind.String ? value.GetString()
        : value.ValueKind != JsonValueKind.Number ? null
        : value.TryGetInt64(out var whole) ? NumberText.Of(whole)
        : value.TryGetDouble(out var number) && number == Math.Floor(number) && Math.Abs(number) < 1e15
            ? NumberText.Of((long)number)
            : value.GetRawText();

    // A string that nothing closes goes on to the end: to look for its end anew from every mark in it would take squared time.
    [GeneratedRegex("\"(?>(?:\\\\.|[^\"\\\\])*)\"?|-?Infinity|NaN", RegexOptions.Singleline)]
    private static partial Regex StringOrNonNumber();
}
