using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Compilation.Rules;

/// <summary>
/// Computes equal operations on equal inputs once, so that what reads them becomes siblings (see <see cref="MergeSiblings"/>).
/// <code>
///        ┌─ Silu ── Linear a                   ┌─ Linear a
/// temb ──┼─ Silu ── Linear b    ⇒  temb ─ Silu ┼─ Linear b
///        └─ Silu ── Linear c                   └─ Linear c
/// </code>
/// An output that is one of them stays a value of its own.
/// </summary>
internal static class DropDuplicates
{
    public static void Apply(Graph graph)
    {
        var first = new Dictionary<(Op Op, ValueList<Value> Inputs), Value>();
        var replacements = new Dictionary<Value, Value>();
        foreach (var value in graph.Values)
        {
            if (value.Inputs.Any(replacements.ContainsKey))
            {
                value.Rewrite(value.Op, value.Path, [.. value.Inputs.Select(i => replacements.GetValueOrDefault(i, i))]);
            }

            if (!first.TryAdd((value.Op, [.. value.Inputs]), value))
            {
                replacements.Add(value, first[(value.Op, [.. value.Inputs])]);
            }
        }
    }
}
