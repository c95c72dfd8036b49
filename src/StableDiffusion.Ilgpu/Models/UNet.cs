using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Models;

/// <summary>
/// The denoising UNet of Stable Diffusion 1.x and 2.x (Rombach et al. 2022, arXiv:2112.10752; weights named as in diffusers'
/// UNet2DConditionModel). Inputs <c>sample</c> (N, h, w, in), <c>timestep</c> (1 or N, 1, 1, 1) and <c>encoder_hidden_states</c>
/// (N, 1, tokens, cross); output <c>out</c> (N, h, w, out). Sizes need not halve evenly: upsampling goes to the skip's size.
/// </summary>
internal static class UNet
{
    /// <summary>The transformer blocks' own epsilon: not in the configuration.</summary>
    private const double TransformerNormEpsilon = 1e-6;

    private const double LayerNormEpsilon = 1e-5;

    public static Graph Record(UNetConfig config, int batch, int height, int width, int tokens, int timesteps = 1, bool circular = false)
    {
        var graph = new Graph("unet") { Circular = circular };
        var s = new Scope(graph);
        var t = graph.Input("timestep", new Shape(timesteps, 1, 1, 1), ElementType.Float32, Rate.Schedule);
        var context = graph.Input("encoder_hidden_states", new Shape(batch, 1, tokens, config.CrossAttention), ElementType.Activation, Rate.Prompt);
        var x = graph.Input("sample", new Shape(batch, height, width, config.InChannels), ElementType.Activation, Rate.Step);

        var channels = config.Channels;
        var temb = (s / "time_proj").TimestepEmbedding(t, channels[0], config.CosineFirst, config.FrequencyShift);
        temb = (s / "time_embedding" / "linear_1").Linear(temb, channels[0] * 4).Silu();
        temb = (s / "time_embedding").Mark((s / "time_embedding" / "linear_2").Linear(temb, channels[0] * 4));

        x = (s / "conv_in").Conv(x, channels[0]);
        var skips = new Stack<Value>([x]);
        for (var level = 0; level < channels.Length; level++)
        {
            var block = s / "down_blocks" / level;
            for (var i = 0; i < config.LayersPerBlock; i++)
            {
                x = ResBlock(block / "resnets" / i, x, temb, channels[level], config);
                if (config.DownBlocks[level] == "CrossAttnDownBlock2D")
                {
                    x = Transformer(block / "attentions" / i, x, context, config.Heads[level], config);
                }

                skips.Push(x);
            }

            if (level < channels.Length - 1)
            {
                x = (block / "downsamplers" / 0).Mark((block / "downsamplers" / 0 / "conv").Conv(x, channels[level], stride: 2));
                skips.Push(x);
            }

            block.Mark(x);
        }

        var mid = s / "mid_block";
        x = ResBlock(mid / "resnets" / 0, x, temb, channels[^1], config);
        x = Transformer(mid / "attentions" / 0, x, context, config.Heads[^1], config);
        x = mid.Mark(ResBlock(mid / "resnets" / 1, x, temb, channels[^1], config));

        for (var up = 0; up < channels.Length; up++)
        {
            var (block, level) = (s / "up_blocks" / up, channels.Length - 1 - up);
            for (var i = 0; i <= config.LayersPerBlock; i++)
            {
                x = ResBlock(block / "resnets" / i, x.Concat(skips.Pop()), temb, channels[level], config);
                if (config.UpBlocks[up] == "CrossAttnUpBlock2D")
                {
                    x = Transformer(block / "attentions" / i, x, context, config.Heads[level], config);
                }
            }

            if (level > 0)
            {
                var skip = skips.Peek().Shape;
                x = (block / "upsamplers" / 0).Mark((block / "upsamplers" / 0 / "conv").Conv(x.Resize(skip.H, skip.W), channels[level]));
            }

            block.Mark(x);
        }

        x = (s / "conv_norm_out").GroupNorm(x, config.Groups, config.Epsilon).Silu();
        graph.Output("out", (s / "conv_out").Conv(x, config.OutChannels));
        return graph;
    }

    private static Value ResBlock(Scope s, Value x, Value temb, int channels, UNetConfig config)
    {
        // First, so that the norm may overwrite x.
        var shortcut = x.C == channels ? x : (s / "conv_shortcut").Conv(x, channels, kernel: 1);
        var h = (s / "conv1").Conv((s / "norm1").GroupNorm(x, config.Groups, config.Epsilon).Silu(), channels);
        h += (s / "time_emb_proj").Linear(temb.Silu(), channels);
        h = (s / "conv2").Conv((s / "norm2").GroupNorm(h, config.Groups, config.Epsilon).Silu(), channels);
        return s.Mark(h + shortcut);
    }

    private static Value Transformer(Scope s, Value x, Value context, int heads, UNetConfig config)
    {
        var h = (s / "norm").GroupNorm(x, config.Groups, TransformerNormEpsilon);
        h = Project(s / "proj_in", h, config);
        var b = s / "transformer_blocks" / 0;
        var n = (b / "norm1").LayerNorm(h, LayerNormEpsilon);
        h = CrossAttention(b / "attn1", n, n, heads) + h;
        n = (b / "norm2").LayerNorm(h, LayerNormEpsilon);
        h = CrossAttention(b / "attn2", n, context, heads) + h;
        n = (b / "norm3").LayerNorm(h, LayerNormEpsilon);
        n = (b / "ff" / "net" / 0 / "proj").Linear(n, h.C * 8).Geglu();
        h = b.Mark((b / "ff").Mark((b / "ff" / "net" / 2).Linear(n, h.C)) + h);
        return s.Mark(Project(s / "proj_out", h, config) + x);
    }

    private static Value Project(Scope s, Value x, UNetConfig config) =>
        config.LinearProjection ? s.Linear(x, x.C) : s.Conv(x, x.C, kernel: 1);

    private static Value CrossAttention(Scope s, Value x, Value context, int heads)
    {
        var (q, k, v) = ((s / "to_q").Linear(x, x.C, bias: false), (s / "to_k").Linear(context, x.C, bias: false), (s / "to_v").Linear(context, x.C, bias: false));
        return s.Mark((s / "to_out" / 0).Linear(s.Attention(q, k, v, heads), x.C));
    }
}
