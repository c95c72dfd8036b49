using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Models;

/// <summary>
/// The CLIP text encoder (Radford et al. 2021, arXiv:2103.00020; weights named as in transformers' CLIPTextModel).
/// Input <c>input_ids</c> (N, 1, tokens, 1); output <c>last_hidden_state</c> (N, 1, tokens, hidden), after the final layer norm.
/// </summary>
internal static class ClipText
{
    public static Graph Record(ClipTextConfig config, int batch)
    {
        var graph = new Graph("text_encoder");
        var ids = graph.Input("input_ids", new Shape(batch, 1, config.Tokens, 1), ElementType.Int32, Rate.Step);
        var s = new Scope(graph) / "text_model";
        var x = (s / "embeddings").TokenEmbedding(ids, config.Vocabulary, config.Hidden);
        graph.Mark("hidden_states.0", x);
        for (var i = 0; i < config.Layers; i++)
        {
            x = graph.Mark($"hidden_states.{i + 1}", Layer(s / "encoder" / "layers" / i, x, config));
        }

        graph.Output("last_hidden_state", (s / "final_layer_norm").LayerNorm(x, config.Epsilon));
        return graph;
    }

    private static Value Layer(Scope s, Value x, ClipTextConfig config)
    {
        var a = s / "self_attn";
        var h = (s / "layer_norm1").LayerNorm(x, config.Epsilon);
        var (q, k, v) = ((a / "q_proj").Linear(h, x.C), (a / "k_proj").Linear(h, x.C), (a / "v_proj").Linear(h, x.C));
        x = (a / "out_proj").Linear(a.Attention(q, k, v, config.Heads, causal: true), x.C) + x;
        h = (s / "layer_norm2").LayerNorm(x, config.Epsilon);
        h = (s / "mlp" / "fc1").Linear(h, config.Intermediate).Activate(config.Activation == "gelu" ? Activation.Gelu : Activation.QuickGelu);
        return (s / "mlp" / "fc2").Linear(h, x.C) + x;
    }
}
