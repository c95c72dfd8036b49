using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Compilation.Rules;

/// <summary>
/// Linear layers on one source become one with all their columns; what read them reads a slice of it. In Stable Diffusion: Q, K and V
/// of self-attention, the keys and values of all cross-attentions, the time projections of all residual blocks.
/// <code>
///     ┌─ Linear q                       ┌─ Slice q
/// x ──┼─ Linear k    ⇒   x ─ Linear qkv ┼─ Slice k
///     └─ Linear v                       └─ Slice v
/// </code>
/// Not: real convolutions, layers that have an epilogue already, outputs of the graph.
/// </summary>
internal static class MergeSiblings
{
    public static void Apply(Graph graph)
    {
        var groups = graph.Values.Where(v => CanMerge(graph, v)).GroupBy(v => v.Inputs[0]).Where(g => g.Count() > 1).ToArray();
        foreach (var group in groups)
        {
            var siblings = group.ToArray();
            var ops = siblings.Select(v => (Contraction)v.Op).ToArray();
            var op = ops[0] with { Siblings = [.. ops[1..].Select(o => (o.Kernel, o.Bias))] };
            var merged = graph.InsertBefore(siblings[0], op, group.Key.Shape with { C = op.Columns }, siblings[0].Path, group.Key);
            var start = 0;
            foreach (var sibling in siblings)
            {
                sibling.Rewrite(new Slice(start, sibling.C), sibling.Path, merged);
                start += sibling.C;
            }
        }
    }

    private static bool CanMerge(Graph graph, Value value) =>
        value.Op is Contraction { HasEpilogue: false, ResizeTo: null, Siblings.Count: 0 } op
        && op.Window == Window.Pointwise
        && !graph.IsOutput(value);
}
