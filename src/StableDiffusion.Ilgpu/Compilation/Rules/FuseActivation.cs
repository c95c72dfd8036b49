using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Compilation.Rules;

/// <summary>
/// An activation function runs in the epilogue of the contraction before it.
/// <code>
/// x ─ Linear ─ Silu    ⇒    x ─ Linear(Silu)
/// </code>
/// Not: where the contraction's result has another use, or an activation or residual already (the epilogue adds the residual last).
/// </summary>
internal static class FuseActivation
{
    public static void Apply(Graph graph)
    {
        var uses = graph.CountUses();
        foreach (var value in graph.Values)
        {
            if (value.Op is Activate activate
                && value.Inputs[0] is { Op: Contraction { Activation: Activation.None, Geglu: false, HasResidual: false } op } x
                && uses[x] == 1)
            {
                value.Rewrite(op with { Activation = activate.Activation }, x.Path, x.Inputs);
            }
        }
    }
}
