namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// The autoencoder's weights in the original naming (CompVis, latent-diffusion's AutoencoderKL, behind <c>first_stage_model.</c>) and in
/// diffusers'. The original counts the decoder's levels from the finest one, diffusers in the order they run.
/// </summary>
/// <param name="levels">Number of levels; 4 in all published models.</param>
internal sealed class VaeLdmNames(int levels)
{
    private static readonly NamePairs Outer = new(("norm_out", "conv_norm_out"), ("conv_in", "conv_in"), ("conv_out", "conv_out"));

    private static readonly NamePairs Middle = new(
        ("mid.block_1", "mid_block.resnets.0"), ("mid.attn_1", "mid_block.attentions.0"), ("mid.block_2", "mid_block.resnets.1"));

    private static readonly NamePairs ResBlock = new(
        ("norm1", "norm1"), ("conv1", "conv1"), ("norm2", "norm2"), ("conv2", "conv2"), ("nin_shortcut", "conv_shortcut"));

    private static readonly NamePairs Attention = new(
        ("norm", "group_norm"), ("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0"));

    /// <summary>diffusers' layer names, which its own converter leaves in the original's attention.</summary>
    private static readonly NamePairs Converted = new(("to_q", "to_q"), ("to_k", "to_k"), ("to_v", "to_v"), ("to_out.0", "to_out.0"));

    private static readonly NamePairs Quantization = new(("quant_conv", "quant_conv"), ("post_quant_conv", "post_quant_conv"));

    /// <summary>For names in the original naming.</summary>
    public static VaeLdmNames OfOriginal(IReadOnlySet<string> names) => new(Count(names, i => $"decoder.up.{i}.block.0.conv1.weight"));

    /// <summary>For names in diffusers' naming.</summary>
    public static VaeLdmNames OfDiffusers(IReadOnlySet<string> names) =>
        new(Count(names, i => $"decoder.up_blocks.{i}.resnets.0.conv1.weight"));

    /// <summary>Whether a name in diffusers' naming is of a matrix that the original stores as a 1x1 convolution.</summary>
    public static bool IsAttentionWeight(string name) =>
        name.Split('.') is [.., "attentions", _, "to_q" or "to_k" or "to_v", "weight"] or [.., "attentions", _, "to_out", "0", "weight"];

    /// <summary>Null for a name that is not the autoencoder's.</summary>
    public string? ToDiffusers(string name)
    {
        if (Quantization.ToDiffusers(name) is { } outside)
        {
            return outside;
        }

        if (name.Split('.', 2) is not [var half and ("encoder" or "decoder"), var rest])
        {
            return null;
        }

        var inside = Outer.ToDiffusers(rest) ?? InMiddle(rest) ?? (rest.Split('.', 5), half) switch
        {
            (["down", var i, "block", var j, var layer], "encoder") => Under($"down_blocks.{i}.resnets.{j}", ResBlock.ToDiffusers(layer)),
            (["down", var i, "downsample", "conv", var kind], "encoder") => $"down_blocks.{i}.downsamplers.0.conv.{kind}",
            (["up", var i, "block", var j, var layer], "decoder") => Under($"up_blocks.{Turn(i)}.resnets.{j}", ResBlock.ToDiffusers(layer)),
            (["up", var i, "upsample", "conv", var kind], "decoder") => $"up_blocks.{Turn(i)}.upsamplers.0.conv.{kind}",
            _ => null,
        };
        return Under(half, inside);

        static string? InMiddle(string rest) => Middle.ToDiffusers(rest) is not { } found ? null
            : found.Split('.', 4) is not [var block, var modules, var index, var layer] ? null
            : Under(
                $"{block}.{modules}.{index}", modules == "resnets" ? ResBlock.ToDiffusers(layer) : Attention.ToDiffusers(layer) ?? Converted.ToDiffusers(layer));
    }

    /// <summary>Null for a name that is not the autoencoder's.</summary>
    public string? ToOriginal(string name)
    {
        if (Quantization.ToOriginal(name) is { } outside)
        {
            return outside;
        }

        if (name.Split('.', 2) is not [var half and ("encoder" or "decoder"), var rest])
        {
            return null;
        }

        var inside = Outer.ToOriginal(rest) ?? (rest.Split('.', 4), half) switch
        {
            (["mid_block", "resnets" or "attentions", _, _], _) => InMiddle(rest),
            (["down_blocks", var i, "downsamplers", var conv], "encoder") =>
                Under($"down.{i}.downsample.conv", NamePairs.Behind("0.conv.", conv)),
            (["up_blocks", var i, "upsamplers", var conv], "decoder") =>
                Under($"up.{Turn(i)}.upsample.conv", NamePairs.Behind("0.conv.", conv)),
            (["down_blocks", var i, "resnets", var block], "encoder") => InBlock($"down.{i}", block),
            (["up_blocks", var i, "resnets", var block], "decoder") => InBlock($"up.{Turn(i)}", block),
            _ => null,
        };
        return Under(half, inside);

        static string? InMiddle(string rest) => Middle.ToOriginal(rest) is not { } found ? null
            : found.Split('.', 3) is not [var mid, var module, var layer] ? null
            : Under($"{mid}.{module}", (module == "attn_1" ? Attention : ResBlock).ToOriginal(layer));

        static string? InBlock(string level, string block) =>
            block.Split('.', 2) is [var j, var layer] ? Under($"{level}.block.{j}", ResBlock.ToOriginal(layer)) : null;
    }

    private static int Count(IReadOnlySet<string> names, Func<int, string> name) =>
        Enumerable.Range(0, names.Count).TakeWhile(i => names.Contains(name(i))).Count();

    /// <summary>A level that is not a number of one leaves the name as it is, so that nothing else can be meant.</summary>
    private string Turn(string level) => int.TryParse(level, out var i) && i >= 0 && i < levels ? $"{levels - 1 - i}" : level;

    private static string? Under(string module, string? rest) => rest is null ? null : $"{module}.{rest}";
}
