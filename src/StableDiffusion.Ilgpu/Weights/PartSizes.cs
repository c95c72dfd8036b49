using System.Text.Json;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// The sizes that tell models apart, from stored shapes or from a configuration, in words that can be compared and shown. What shapes
/// cannot tell (heads, groups, activations) is not among them.
/// </summary>
internal static class PartSizes
{
    /// <param name="part">Which component.</param>
    /// <param name="tensors">Its tensors under diffusers' names; where some are missing, so are their sizes.</param>
    public static string Of(ModelPart part, IReadOnlyDictionary<string, TensorInfo> tensors)
    {
        return part switch
        {
            ModelPart.TextEncoder => Text(
                Size("text_model.embeddings.token_embedding.weight", 0), Size("text_model.embeddings.token_embedding.weight", 1),
                FirstSizes(i => $"text_model.encoder.layers.{i}.layer_norm1.weight").Count()),
            ModelPart.UNet => UNet(
                Size("conv_in.weight", 1), Size("conv_out.weight", 0), FirstSizes(i => $"down_blocks.{i}.resnets.0.conv2.weight"),
                Size("down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight", 1)),
            _ => Vae(Size("decoder.conv_in.weight", 1), FirstSizes(i => $"decoder.up_blocks.{i}.resnets.0.conv2.weight").Reverse()),
        };

        long Size(string name, int axis) => tensors.TryGetValue(name, out var info) && info.Shape.Length > axis ? info.Shape[axis] : 0;

        IEnumerable<long> FirstSizes(Func<int, string> name) =>
            Enumerable.Range(0, tensors.Count).TakeWhile(i => tensors.ContainsKey(name(i))).Select(i => Size(name(i), 0)).ToList();
    }

    /// <param name="part">Which component.</param>
    /// <param name="config">Its configuration in diffusers' terms.</param>
    /// <param name="description">What messages call the configuration.</param>
    public static string Of(ModelPart part, JsonElement config, string description)
    {
        var reader = new ConfigReader(config, description);
        return part switch
        {
            ModelPart.TextEncoder =>
                Text(reader.Int("vocab_size", 49408), reader.Int("hidden_size", 512), reader.Int("num_hidden_layers", 12)),
            ModelPart.UNet => UNet(
                reader.Int("in_channels", 4), reader.Int("out_channels", 4), reader.Ints("block_out_channels").Select(c => (long)c),
                reader.Int("cross_attention_dim", 1280)),
            _ => Vae(reader.Int("latent_channels", 4), reader.Ints("block_out_channels").Select(c => (long)c)),
        };
    }

    private static string Text(long vocabulary, long width, long layers) => $"vocabulary {vocabulary}, width {width}, {layers} layers";

    private static string UNet(long input, long output, IEnumerable<long> channels, long context) =>
        $"{input} to {output} channels by way of {string.Join(", ", channels)}, text of width {context}";

    private static string Vae(long latent, IEnumerable<long> channels) =>
        $"latents of {latent} channels, {string.Join(", ", channels)} inside";
}
