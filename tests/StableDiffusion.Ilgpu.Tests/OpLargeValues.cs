using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>Values near fp16's end: nothing may overflow on the way to a result that fits.</summary>
internal static class OpLargeValues
{
    public static IReadOnlyList<OpCase> All { get; } = [.. Cases()];

    private static IEnumerable<OpCase> Cases()
    {
        const float Large = 65000;
        static float Sign(int i) => i * 7 % 5 % 2 == 0 ? Large : -Large;

        yield return Filled("silu of 65000", g => X(g, 1, 1, 3, 20).Silu(), ("x", Sign));
        yield return Filled("gelu of 65000", g => X(g, 1, 1, 3, 20).Activate(Activation.Gelu), ("x", Sign));
        yield return Filled("quick gelu of 65000", g => X(g, 1, 1, 3, 20).Activate(Activation.QuickGelu), ("x", Sign));
        yield return Filled("geglu of 65000 gated by -65000", g => X(g, 1, 1, 3, 40).Geglu(), ("x", i => i % 40 < 20 ? Large : -Large));
        yield return Filled("sum of 65000 and -65000", g => X(g, 1, 1, 4, 33) + X(g, 1, 1, 1, 33, "y"), ("x", _ => Large),
            ("y", i => i % 3 == 0 ? -Large : 100));
        yield return Filled("group norm of 65000", g => (new Scope(g) / "n").GroupNorm(X(g, 1, 20, 30, 32), 8, 1e-5).Silu(), ("x", Sign));
        yield return Filled("layer norm of 65000", g => (new Scope(g) / "n").LayerNorm(X(g, 1, 1, 5, 40), 1e-5), ("x", Sign));
        yield return Filled(
            "linear of 65000", g => (new Scope(g) / "l").Linear(X(g, 1, 1, 9, 300), 33), ("x", Sign),
            ("l.weight", i => ((i * 37 % 201) - 100) / 16384f));

        // Equal logits of 1e10, and one that stands as far above the rest.
        yield return Filled("attention with equal logits", g => Attention(g, 5, 70), ("q", _ => Large), ("k", _ => Large));
        yield return Filled("attention with one logit of 1e9", g => Attention(g, 8, 8), ("q", i => i % 9 == 0 ? Large : 0),
            ("k", i => i % 9 == 0 ? Large : 0));

        static Value Attention(Graph g, int queries, int keys) =>
            new Scope(g).Attention(X(g, 1, 1, queries, 8, "q"), X(g, 1, 1, keys, 8, "k"), X(g, 1, 1, keys, 8, "v"), heads: 1);

        static OpCase Filled(string what, Func<Graph, Value> record, params (string Name, Func<int, float> Value)[] fills) =>
            new(what, g => g.Output("out", record(g)))
            {
                Values = (name, count) => fills.Where(f => f.Name == name)
                    .Select(f => Enumerable.Range(0, count).Select(f.Value).ToArray()).FirstOrDefault(),
            };
    }

    private static Value X(Graph graph, int n, int h, int w, int c, string key = "x") =>
        graph.Input(key, new Shape(n, h, w, c), ElementType.Activation, Rate.Step);
}
