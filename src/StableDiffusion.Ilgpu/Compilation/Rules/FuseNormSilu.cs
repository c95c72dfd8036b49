using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Compilation.Rules;

/// <summary>
/// A group norm applies the SiLU behind it while it writes.
/// <code>
/// x ─ GroupNorm ─ Silu    ⇒    x ─ GroupNorm(Silu)
/// </code>
/// Not: where the norm's result has another use.
/// </summary>
internal static class FuseNormSilu
{
    public static void Apply(Graph graph)
    {
        var uses = graph.CountUses();
        foreach (var value in graph.Values)
        {
            if (value.Op is Activate { Activation: Activation.Silu }
                && value.Inputs[0] is { Op: GroupNorm { Silu: false } op } x
                && uses[x] == 1)
            {
                value.Rewrite(op with { Silu = true }, x.Path, x.Inputs);
            }
        }
    }
}
