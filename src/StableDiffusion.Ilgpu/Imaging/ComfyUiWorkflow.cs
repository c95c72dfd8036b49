using System.Text.Json;
using System.Text.Json.Nodes;

namespace StableDiffusion.Ilgpu.Imaging;

/// <summary>The document of ComfyUI's editor, which gives the values of a node by their place.</summary>
internal static class ComfyUiWorkflow
{
    /// <summary>Names of the values of the nodes that settings are read from; null stands for what the editor adds.</summary>
    private static readonly Dictionary<string, string?[]> Widgets = new()
    {
        ["KSampler"] = ["seed", null, "steps", "cfg", "sampler_name", "scheduler", "denoise"],
        ["KSamplerAdvanced"] = ["add_noise", "noise_seed", null, "steps", "cfg", "sampler_name", "scheduler", "start_at_step", "end_at_step"],
        ["CLIPTextEncode"] = ["text"],
        ["CheckpointLoaderSimple"] = ["ckpt_name"],
        ["UNETLoader"] = ["unet_name"],
        ["EmptyLatentImage"] = ["width", "height", "batch_size"],
        ["CLIPSetLastLayer"] = ["stop_at_clip_layer"],
    };

    /// <summary>The same graph in the form of <c>prompt</c>; null where the document is none.</summary>
    public static JsonElement? ToPrompt(JsonElement? workflow)
    {
        if (workflow is not { ValueKind: JsonValueKind.Object } document
            || !document.TryGetProperty("nodes", out var nodes) || nodes.ValueKind != JsonValueKind.Array)
        {
            return null;
        }

        // A link is its id, the node and output where it begins, and more.
        var origins = new Dictionary<string, JsonElement>();
        if (document.TryGetProperty("links", out var links) && links.ValueKind == JsonValueKind.Array)
        {
            foreach (var link in links.EnumerateArray().Where(l => l.ValueKind == JsonValueKind.Array && l.GetArrayLength() >= 3))
            {
                origins[link[0].ToString()] = link[1];
            }
        }

        var prompt = new JsonObject();
        foreach (var node in nodes.EnumerateArray().Where(n => n.ValueKind == JsonValueKind.Object))
        {
            if (node.TryGetProperty("id", out var id) && node.TryGetProperty("type", out var type))
            {
                prompt[id.ToString()] = new JsonObject { ["class_type"] = type.ToString(), ["inputs"] = Inputs(node, type.ToString(), origins) };
            }
        }

        return JsonSerializer.SerializeToElement(prompt);
    }

    private static JsonObject Inputs(JsonElement node, string type, Dictionary<string, JsonElement> origins)
    {
        var result = new JsonObject();
        if (Widgets.TryGetValue(type, out var names)
            && node.TryGetProperty("widgets_values", out var values) && values.ValueKind == JsonValueKind.Array)
        {
            foreach (var (name, value) in names.Zip(values.EnumerateArray()).Where(w => w.First is not null))
            {
                result[name!] = JsonSerializer.SerializeToNode(value);
            }
        }

        if (node.TryGetProperty("inputs", out var inputs) && inputs.ValueKind == JsonValueKind.Array)
        {
            foreach (var input in inputs.EnumerateArray().Where(i => i.ValueKind == JsonValueKind.Object))
            {
                if (input.TryGetProperty("name", out var name) && input.TryGetProperty("link", out var link)
                    && origins.TryGetValue(link.ToString(), out var origin))
                {
                    result[name.ToString()] = new JsonArray(origin.ToString(), 0);
                }
            }
        }

        return result;
    }
}
