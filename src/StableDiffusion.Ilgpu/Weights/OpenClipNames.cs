namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// The text encoder's weights in OpenCLIP's naming, as Stable Diffusion 2.x files have them behind <c>cond_stage_model.model.</c>, and in
/// transformers' (CLIPTextModel). OpenCLIP keeps the projections to queries, keys and values in one tensor, in this order of rows.
/// </summary>
internal static class OpenClipNames
{
    private const string LayersPrefix = "transformer.resblocks.";
    private const string DiffusersLayersPrefix = "text_model.encoder.layers.";

    private static readonly NamePairs Outer = new(
        ("token_embedding.weight", "text_model.embeddings.token_embedding.weight"),
        ("positional_embedding", "text_model.embeddings.position_embedding.weight"), ("ln_final", "text_model.final_layer_norm"));

    private static readonly NamePairs Layer = new(
        ("ln_1", "layer_norm1"), ("attn.out_proj", "self_attn.out_proj"), ("ln_2", "layer_norm2"), ("mlp.c_fc", "mlp.fc1"),
        ("mlp.c_proj", "mlp.fc2"));

    private static readonly string[] Projections = ["q_proj", "k_proj", "v_proj"];

    /// <summary>The layer that a name in transformers' naming belongs to; null for one outside of the layers.</summary>
    public static int? LayerOf(string diffusersName) =>
        NamePairs.Behind(DiffusersLayersPrefix, diffusersName)?.Split('.', 2) is [var index, _] && int.TryParse(index, out var layer)
            ? layer
            : null;

    /// <summary>The tensors that a stored one holds, first rows first; null for a name that is not the text encoder's.</summary>
    public static string[]? ToDiffusers(string name)
    {
        if (Outer.ToDiffusers(name) is { } outer)
        {
            return [outer];
        }

        if (NamePairs.Behind(LayersPrefix, name)?.Split('.', 2) is not [var index, var rest])
        {
            return null;
        }

        return rest switch
        {
            "attn.in_proj_weight" => [.. Projections.Select(p => $"{DiffusersLayersPrefix}{index}.self_attn.{p}.weight")],
            "attn.in_proj_bias" => [.. Projections.Select(p => $"{DiffusersLayersPrefix}{index}.self_attn.{p}.bias")],
            _ => Layer.ToDiffusers(rest) is { } layer ? [$"{DiffusersLayersPrefix}{index}.{layer}"] : null,
        };
    }

    /// <summary>The tensor that holds one of transformers'; null for a name that is not the text encoder's.</summary>
    public static string? ToOriginal(string name)
    {
        if (Outer.ToOriginal(name) is { } outer)
        {
            return outer;
        }

        if (NamePairs.Behind(DiffusersLayersPrefix, name)?.Split('.', 2) is not [var index, var rest])
        {
            return null;
        }

        var inside = rest.Split('.') is ["self_attn", var projection, var kind] && Projections.Contains(projection)
            ? $"attn.in_proj_{kind}"
            : Layer.ToOriginal(rest);
        return inside is null ? null : $"{LayersPrefix}{index}.{inside}";
    }
}
