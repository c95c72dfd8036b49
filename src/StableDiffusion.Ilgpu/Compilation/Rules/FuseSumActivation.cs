using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Compilation.Rules;

/// <summary>
/// An activation function behind a sum runs in the epilogue of the contraction that forms the sum. In TAESD: the end of every block.
/// <code>
/// h, x ─ Conv(residual) ─ Relu    ⇒    h, x ─ Conv(residual, then Relu)
/// </code>
/// Not: where the sum has another use, or the contraction has an activation already.
/// </summary>
internal static class FuseSumActivation
{
    public static void Apply(Graph graph)
    {
        var uses = graph.CountUses();
        foreach (var value in graph.Values)
        {
            if (value.Op is Activate activate
                && value.Inputs[0] is { Op: Contraction { Activation: Activation.None, Geglu: false, HasResidual: true } op } x
                && uses[x] == 1)
            {
                value.Rewrite(op with { Activation = activate.Activation, ActivatesSum = true }, x.Path, x.Inputs);
            }
        }
    }
}
