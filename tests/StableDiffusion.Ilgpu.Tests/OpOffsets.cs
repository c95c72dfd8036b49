using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>
/// Kernels that move eight values at a time look at each operand's offset and at its pitch: cases in which one of these is no multiple of eight, and all else is. Slices of
/// merged siblings are operands, places in a concatenation are targets.
/// </summary>
internal static class OpOffsets
{
    private const int Columns = 32;

    public static IReadOnlyList<OpCase> All { get; } = [.. Cases()];

    private static IEnumerable<OpCase> Cases()
    {
        var ops = new (string Name, Func<Scope, Value, Func<Value>, Value> Apply)[]
        {
            ("linear", (s, x, y) => (s / "l").Linear(x, 40)),
            ("conv", (s, x, y) => (s / "c").Conv(x, 40)),
            ("linear, plus residual", (s, x, y) => (s / "l").Linear(y(), Columns) + x),
            ("linear and geglu", (s, x, y) => (s / "l").Linear(x, 64).Geglu()),
            ("geglu", (s, x, y) => x.Geglu()),
            ("silu", (s, x, y) => x.Silu()),
            ("sum of it", (s, x, y) => x + x.Silu()),
            ("sum with it", (s, x, y) => x.Silu() + x),
            ("resize", (s, x, y) => x.Resize(6, 12)),
            ("group norm", (s, x, y) => (s / "n").GroupNorm(x, 4, 1e-5).Silu()),
            ("group norm of few channels", (s, x, y) => (s / "n").GroupNorm(x, 8, 1e-5).Silu()),
            ("layer norm", (s, x, y) => (s / "n").LayerNorm(x, 1e-5)),
            ("attention by it", (s, x, y) => Attention(s, y(), (x, null, null))),
            ("attention to it", (s, x, y) => Attention(s, y(), (null, x, null))),
            ("attention for it", (s, x, y) => Attention(s, y(), (null, null, x))),
        };
        foreach (var (name, apply) in ops)
        {
            foreach (var before in new[] { 4, 0 })
            {
                yield return Case($"{name}, from place {before} in rows of {before + Columns + 4}", g =>
                {
                    var (s, x) = (new Scope(g), X(g, 2, 3, 6));
                    return apply(s, Slice(s, x, before), () => (s / "y").Linear(X(g, 2, 3, 6, "o"), Columns));
                });
                yield return Case($"{name}, to place {before} in rows of {before} and its and 4", g =>
                {
                    var (s, x) = (new Scope(g), X(g, 2, 3, 6));
                    var value = apply(s, (s / "x").Linear(x, Columns), () => (s / "y").Linear(X(g, 2, 3, 6, "o"), Columns));
                    var beside = X(g, 2, value.Shape.H, value.Shape.W, "e");
                    var after = value.Concat((s / "after").Linear(beside, 4));
                    return before == 0 ? after : (s / "before").Linear(beside, before).Concat(after);
                });
            }
        }

        yield return Case("linear to 4 columns, to place 32 in rows of 40", g =>
        {
            var (s, beside) = (new Scope(g), X(g, 2, 3, 6, "e"));
            return (s / "before").Linear(beside, 32).Concat((s / "l").Linear(X(g, 2, 3, 6), 4)).Concat((s / "after").Linear(beside, 4));
        });
        foreach (var before in new[] { 4, 0 })
        {
            yield return Case($"conv 3x6, plus item bias from place {before} in rows of {before + Columns + 4}", g =>
            {
                var s = new Scope(g);
                return (s / "c").Conv(X(g, 2, 3, 6), Columns) + Slice(s, X(g, 2, 1, 1, "t"), before);
            });
            yield return Case($"conv 16x16 from place {before} in rows of {before + Columns + 4}", g =>
            {
                var s = new Scope(g);
                return (s / "c").Conv(Slice(s, X(g, 1, 16, 16), before), 8);
            });
        }
    }

    private static Value Attention(Scope s, Value others, (Value? Query, Value? Key, Value? Value) own) =>
        s.Attention(own.Query ?? others, own.Key ?? others, own.Value ?? others, heads: 4);

    /// <summary>A slice of siblings, behind one of so many columns and before one of four.</summary>
    private static Value Slice(Scope s, Value x, int before)
    {
        if (before > 0)
        {
            s.Graph.Output("ahead", (s / "ahead").Linear(x, before).Silu());
        }

        var slice = (s / "slice").Linear(x, Columns);
        s.Graph.Output("behind", (s / "behind").Linear(x, 4).Silu());
        return slice;
    }

    private static OpCase Case(string name, Func<Graph, Value> record) => new(name, g => g.Output("out", record(g)));

    private static Value X(Graph graph, int n, int h, int w, string key = "x") =>
        graph.Input(key, new Shape(n, h, w, 8), ElementType.Activation, Rate.Step);
}
