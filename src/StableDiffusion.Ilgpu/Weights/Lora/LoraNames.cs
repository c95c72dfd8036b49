namespace StableDiffusion.Ilgpu.Weights.Lora;

/// <summary>What a module of a LoRA file can change.</summary>
/// <param name="Part">The component.</param>
/// <param name="Weight">Its weight.</param>
/// <param name="Bias">Its bias; null where it has none.</param>
internal sealed record LoraTarget(ModelPart Part, TensorInfo Weight, TensorInfo? Bias);

/// <summary>
/// What LoRA files call the modules of a model. Names are made for every module and looked up, never taken apart: in kohya's names
/// an underscore may stand for a dot or for itself.
/// </summary>
internal static class LoraNames
{
    /// <summary>What ComfyUI calls the text encoders of Stable Diffusion 1.x and 2.x.</summary>
    private static readonly string[] ComfyTextEncoders = ["text_encoders.clip_l.transformer.", "text_encoders.clip_h.transformer."];

    private const string Suffix = ".weight", BiasSuffix = ".bias";

    /// <summary>Module paths in a file (without the part that says which factor a tensor is) to the tensors that they change.</summary>
    /// <param name="declared">The tensors of each part that holds LoRAs, as the graphs declare them.</param>
    public static Dictionary<string, LoraTarget> Table(IEnumerable<(ModelPart Part, IReadOnlyList<TensorInfo> Tensors)> declared)
    {
        var table = new Dictionary<string, LoraTarget>();
        foreach (var (part, tensors) in declared)
        {
            var byName = tensors.ToDictionary(t => t.Name);
            var original = UNetLdmNames.OfDiffusers(byName.Keys.ToHashSet());
            foreach (var tensor in tensors.Where(t => t.Name.EndsWith(Suffix, StringComparison.Ordinal)))
            {
                var module = tensor.Name[..^Suffix.Length];
                var target = new LoraTarget(part, tensor, byName.GetValueOrDefault(module + BiasSuffix));
                foreach (var name in part == ModelPart.UNet ? UNet(module, original) : TextEncoder(module))
                {
                    // Two modules of one name would be a mistake here, never in a file.
                    table.Add(name, target);
                }
            }
        }

        return table;
    }

    /// <summary>
    /// For <c>a.b.attn1.to_q</c>: kohya, LyCORIS' wrapper, ComfyUI, PEFT with and without prefix, and the attention processors of older
    /// diffusers.
    /// </summary>
    private static IEnumerable<string> UNet(string module, UNetLdmNames original)
    {
        yield return $"lora_unet_{module.Replace('.', '_')}";
        yield return $"lycoris_{module.Replace('.', '_')}";
        if (original.ToOriginal($"{module}{Suffix}") is { } old)
        {
            yield return $"lora_unet_{old[..^Suffix.Length].Replace('.', '_')}";
            yield return $"diffusion_model.{old[..^Suffix.Length]}";
        }

        string[] forms = Processor(module) is { } processor ? [module, processor] : [module];
        foreach (var form in forms)
        {
            yield return form;
            yield return $"unet.{form}";
            yield return $"base_model.model.{form}";
        }
    }

    /// <summary>A model's only text encoder is the first one to trainers that know models of several.</summary>
    private static IEnumerable<string> TextEncoder(string module)
    {
        foreach (var prefix in new[] { "lora_te", "lora_te1", "lycoris" })
        {
            yield return $"{prefix}_{module.Replace('.', '_')}";
        }

        foreach (var prefix in ComfyTextEncoders)
        {
            yield return prefix + module;
        }

        string[] forms = AttentionName(module) is { } attention ? [module, attention] : [module];
        foreach (var form in forms)
        {
            yield return form;
            yield return $"text_encoder.{form}";
            yield return $"base_model.model.{form}";
        }
    }

    /// <summary><c>attn1.to_q</c> and <c>attn1.to_out.0</c> were <c>attn1.processor.to_q</c> and <c>attn1.processor.to_out</c>.</summary>
    private static string? Processor(string module) => module.Split('.') switch
    {
        [.. var path, ("attn1" or "attn2") and var attention, "to_out", "0"] =>
            string.Join('.', [.. path, attention, "processor", "to_out"]),
        [.. var path, ("attn1" or "attn2") and var attention, var layer] => string.Join('.', [.. path, attention, "processor", layer]),
        _ => null,
    };

    /// <summary>diffusers once called the text encoder's projections as it calls the UNet's.</summary>
    private static string? AttentionName(string module) => module.Split('.') is not [.. var path, "self_attn", var layer] ? null
        : layer switch { "q_proj" => "to_q", "k_proj" => "to_k", "v_proj" => "to_v", "out_proj" => "to_out", _ => null } is { } name
            ? string.Join('.', [.. path, "self_attn", name]) : null;
}
