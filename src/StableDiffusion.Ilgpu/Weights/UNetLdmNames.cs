namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// The UNet's weights in the original naming (CompVis, latent-diffusion's UNetModel, behind <c>model.diffusion_model.</c>) and in
/// diffusers'. The original counts all blocks of a half through: input block 0 is the first convolution, then each level has its residual blocks
/// and, but for the last level, a downsampling block.
/// </summary>
/// <param name="blocks">Residual blocks of a level on the way down; 2 in all published models.</param>
/// <param name="upAttention">Levels on the way up that have attention: it stands between residual block and upsampler.</param>
internal sealed class UNetLdmNames(int blocks, IReadOnlySet<int> upAttention)
{
    private static readonly NamePairs Outer = new(
        ("time_embed.0", "time_embedding.linear_1"), ("time_embed.2", "time_embedding.linear_2"), ("input_blocks.0.0", "conv_in"),
        ("out.0", "conv_norm_out"), ("out.2", "conv_out"));

    private static readonly NamePairs ResBlock = new(
        ("in_layers.0", "norm1"), ("in_layers.2", "conv1"), ("emb_layers.1", "time_emb_proj"), ("out_layers.0", "norm2"),
        ("out_layers.3", "conv2"), ("skip_connection", "conv_shortcut"));

    /// <summary>For names in the original naming.</summary>
    public static UNetLdmNames OfOriginal(IReadOnlySet<string> names)
    {
        // The first downsampling block ends the first level.
        var first = Enumerable.Range(1, names.Count).FirstOrDefault(n => names.Contains($"input_blocks.{n}.0.op.weight"));
        return new UNetLdmNames(first > 1 ? first - 1 : 2, new HashSet<int>());
    }

    /// <summary>For names in diffusers' naming.</summary>
    public static UNetLdmNames OfDiffusers(IReadOnlySet<string> names)
    {
        var blocks = Enumerable.Range(0, names.Count).TakeWhile(j => names.Contains($"down_blocks.0.resnets.{j}.conv1.weight")).Count();
        var attention = Enumerable.Range(0, names.Count).TakeWhile(k => names.Contains($"up_blocks.{k}.resnets.0.conv1.weight"))
            .Where(k => names.Contains($"up_blocks.{k}.attentions.0.norm.weight"));
        return new UNetLdmNames(blocks, attention.ToHashSet());
    }

    /// <summary>Null for a name that is not the UNet's.</summary>
    public string? ToDiffusers(string name)
    {
        if (Outer.ToDiffusers(name) is { } outer)
        {
            return outer;
        }

        if (name.Split('.', 3) is ["middle_block", var index, var inMiddle])
        {
            return index switch
            {
                "0" => Under("mid_block.resnets.0", ResBlock.ToDiffusers(inMiddle)),
                "1" => $"mid_block.attentions.0.{inMiddle}",
                "2" => Under("mid_block.resnets.1", ResBlock.ToDiffusers(inMiddle)),
                _ => null,
            };
        }

        if (name.Split('.', 4) is not [var half, var number, var module, var rest] || !int.TryParse(number, out var n))
        {
            return null;
        }

        return half switch
        {
            "input_blocks" when n > 0 => Down(Math.DivRem(n - 1, blocks + 1), module, rest),
            "output_blocks" => Up(Math.DivRem(n, blocks + 1), module, rest),
            _ => null,
        };
    }

    /// <summary>Null for a name that is not the UNet's.</summary>
    public string? ToOriginal(string name)
    {
        if (Outer.ToOriginal(name) is { } outer)
        {
            return outer;
        }

        if (name.Split('.', 4) is ["mid_block", var kind, var which, var inMiddle])
        {
            return (kind, which) switch
            {
                ("resnets", "0") => Under("middle_block.0", ResBlock.ToOriginal(inMiddle)),
                ("attentions", "0") => $"middle_block.1.{inMiddle}",
                ("resnets", "1") => Under("middle_block.2", ResBlock.ToOriginal(inMiddle)),
                _ => null,
            };
        }

        if (name.Split('.', 5) is not [var half, var level, var module, var index, var rest]
            || !int.TryParse(level, out var k) || !int.TryParse(index, out var i))
        {
            return null;
        }

        return (half, module) switch
        {
            ("down_blocks", "resnets") => Under($"input_blocks.{1 + (k * (blocks + 1)) + i}.0", ResBlock.ToOriginal(rest)),
            ("down_blocks", "attentions") => $"input_blocks.{1 + (k * (blocks + 1)) + i}.1.{rest}",
            ("down_blocks", "downsamplers") => Under($"input_blocks.{(k + 1) * (blocks + 1)}.0.op", NamePairs.Behind("conv.", rest)),
            ("up_blocks", "resnets") => Under($"output_blocks.{(k * (blocks + 1)) + i}.0", ResBlock.ToOriginal(rest)),
            ("up_blocks", "attentions") => $"output_blocks.{(k * (blocks + 1)) + i}.1.{rest}",
            ("up_blocks", "upsamplers") => Under(
                $"output_blocks.{(k * (blocks + 1)) + blocks}.{(upAttention.Contains(k) ? 2 : 1)}.conv", NamePairs.Behind("conv.", rest)),
            _ => null,
        };
    }

    private string? Down((int Level, int Index) at, string module, string rest) => module switch
    {
        "0" when at.Index == blocks => Under($"down_blocks.{at.Level}.downsamplers.0.conv", NamePairs.Behind("op.", rest)),
        "0" => Under($"down_blocks.{at.Level}.resnets.{at.Index}", ResBlock.ToDiffusers(rest)),
        "1" => $"down_blocks.{at.Level}.attentions.{at.Index}.{rest}",
        _ => null,
    };

    private string? Up((int Level, int Index) at, string module, string rest) => module switch
    {
        "0" => Under($"up_blocks.{at.Level}.resnets.{at.Index}", ResBlock.ToDiffusers(rest)),
        "1" or "2" when at.Index == blocks && NamePairs.Behind("conv.", rest) is { } kind =>
            $"up_blocks.{at.Level}.upsamplers.0.conv.{kind}",
        "1" => $"up_blocks.{at.Level}.attentions.{at.Index}.{rest}",
        _ => null,
    };

    private static string? Under(string module, string? rest) => rest is null ? null : $"{module}.{rest}";
}
