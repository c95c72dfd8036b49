using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Compilation.Rules;

/// <summary>
/// The gated activation of a feed-forward block runs in the epilogue of the linear layer before it, which then stores half the columns.
/// <code>
/// x ─ Linear(2n) ─ Geglu(n)    ⇒    x ─ Linear(2n, Geglu)
/// </code>
/// Not: where the linear layer's result has another use, an epilogue or siblings, or where n is no multiple of
/// <see cref="PanelColumns"/>: packed weights interleave so many columns of h with as many of the gate.
/// </summary>
internal static class FuseGeglu
{
    public const int PanelColumns = 16;

    public static void Apply(Graph graph)
    {
        var uses = graph.CountUses();
        foreach (var value in graph.Values)
        {
            if (value.Op is Geglu
                && value.Inputs[0] is { Op: Contraction { HasEpilogue: false, Siblings.Count: 0 } op } x
                && uses[x] == 1
                && value.C % PanelColumns == 0)
            {
                value.Rewrite(op with { Geglu = true }, x.Path, x.Inputs);
            }
        }
    }
}
