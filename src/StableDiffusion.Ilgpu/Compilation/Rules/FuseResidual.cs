using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Compilation.Rules;

/// <summary>
/// A sum of two values of one shape is formed by the contraction that makes one of them.
/// <code>
/// h ─ Conv ─┐
///           Add    ⇒    h, x ─ Conv(residual)
/// x ────────┘
/// </code>
/// Of two contractions the later one adds; it moves to the place of the sum, behind both. Not: where its result has another use, a
/// gated activation or a residual already, or where it changes less often than the sum.
/// </summary>
internal static class FuseResidual
{
    public static void Apply(Graph graph)
    {
        var uses = graph.CountUses();
        var positions = graph.Values.Select((v, i) => (v, i)).ToDictionary(p => p.v, p => p.i);
        foreach (var value in graph.Values)
        {
            if (value is not { Op: Add, Inputs: [var a, var b] } || a.Shape != b.Shape)
            {
                continue;
            }

            var (later, earlier) = positions[a] > positions[b] ? (a, b) : (b, a);
            if (!TryFuse(later, earlier))
            {
                TryFuse(earlier, later);
            }

            bool TryFuse(Value x, Value residual)
            {
                if (x.Op is not Contraction { Geglu: false, HasResidual: false } op || uses[x] != 1 || x.Rate != value.Rate)
                {
                    return false;
                }

                value.Rewrite(op with { HasResidual = true }, x.Path, [.. x.Inputs, residual]);
                return true;
            }
        }
    }
}
