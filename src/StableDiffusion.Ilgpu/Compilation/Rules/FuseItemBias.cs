using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Compilation.Rules;

/// <summary>
/// A summand with one row an item, or one row in all, is added by the contraction that makes the other summand. In Stable Diffusion:
/// the time embedding in a residual block.
/// <code>
/// x ─ Conv ──────┐
///                Add    ⇒    x, time ─ Conv(item bias)
/// time (N,1,1,C) ┘
/// </code>
/// The contraction moves to the place of the sum, behind both. Not: where its result has another use or an epilogue, or where it
/// changes less often than the sum.
/// </summary>
internal static class FuseItemBias
{
    public static void Apply(Graph graph)
    {
        var uses = graph.CountUses();
        foreach (var value in graph.Values)
        {
            if (value is { Op: Add, Inputs: [{ Op: Contraction { HasEpilogue: false } op } x, var bias] }
                && bias.Shape != x.Shape
                && uses[x] == 1
                && x.Rate == value.Rate)
            {
                value.Rewrite(op with { HasItemBias = true }, x.Path, [.. x.Inputs, bias]);
            }
        }
    }
}
