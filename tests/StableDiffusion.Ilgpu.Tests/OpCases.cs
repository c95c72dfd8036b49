using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>
/// The list of operator cases: for each kernel the sizes at which its loops change, and for each fusion the graph that it rewrites. A new
/// fused kernel gets its case here. Every result is called out.
/// </summary>
internal static class OpCases
{
    public static IReadOnlyList<OpCase> All { get; } =
        [.. Linear(), .. Convolutions(), .. CircularConvolutions(),
            .. Fusions(), .. Pitches(), .. OpOffsets.All, .. Attentions(), .. Norms(), .. Pointwise(), .. OpLargeValues.All];

    private static IEnumerable<OpCase> Linear()
    {
        // Rows come in tiles of 8, columns in panels of 32 and registers of 4 to 16, the depth in parts of 256.
        for (var columns = 1; columns <= 70; columns++)
        {
            var (rows, depth) = (1 + (columns * 5 % 9), 1 + (columns * columns * 37 % 600));
            yield return LinearCase(rows, columns, depth);
        }

        foreach (var (rows, columns, depth) in new[]
        {
            (1, 32, 255), (2, 33, 256), (3, 31, 257), (4, 64, 511), (5, 65, 512), (6, 1, 513), (7, 70, 600), (8, 40, 1), (9, 48, 2),
            (255, 32, 64), (256, 33, 17), (257, 64, 40), (520, 8, 9), (17, 352, 32), (3, 700, 20),
        })
        {
            yield return LinearCase(rows, columns, depth);
        }

        yield return Case("linear without bias", g => (Root(g) / "l").Linear(X(g, 2, 1, 5, 24), 40, bias: false));

        static OpCase LinearCase(int rows, int columns, int depth) =>
            Case($"linear {rows}x{depth} to {columns}", g => (Root(g) / "l").Linear(X(g, 1, 1, rows, depth), columns));
    }

    private static IEnumerable<OpCase> Convolutions()
    {
        foreach (var (n, h, w, from, to) in new[]
        {
            (1, 1, 1, 1, 1), (1, 1, 70, 3, 33), (2, 9, 1, 17, 4), (2, 3, 5, 64, 70), (1, 17, 19, 8, 8), (3, 6, 7, 300, 16),
        })
        {
            yield return Conv($"{n}x{h}x{w}x{from} to {to}", n, h, w, from, to, Window.Same(3));
            yield return Conv($"{n}x{h}x{w}x{from} to {to} stride 2", n, h, w, from, to, Window.Same(3, stride: 2));
        }

        foreach (var (h, w) in new[] { (8, 10), (9, 7), (2, 2), (5, 64) })
        {
            yield return Conv($"{h}x{w} stride 2, padded right and below", 2, h, w, 6, 20, new Window(3, 2, 0, 1, 0, 1));
            yield return Conv($"{h}x{w} padded 2, 0, 1, 3", 1, h, w, 5, 9, new Window(3, 1, 2, 0, 1, 3));
        }

        // From 16x16 pixels and 16 channels on, Winograd's blocks of 4x4 pixels, 64 of them and parts of 320 channels at a time.
        foreach (var (n, h, w, from, to) in new[] { (1, 16, 16, 16, 32), (2, 17, 19, 32, 40), (1, 18, 15, 336, 7), (3, 16, 23, 48, 70), (2, 34, 33, 16, 3) })
        {
            yield return Conv($"{n}x{h}x{w}x{from} to {to}", n, h, w, from, to, Window.Same(3));
        }

        // Paddings that leave the size as it is, and are not Winograd's.
        yield return Conv("17x16x16 padded 2, 0, 1, 1", 1, 17, 16, 16, 8, new Window(3, 1, 2, 0, 1, 1));
        yield return Conv("16x18x16 padded 1, 1, 0, 2", 1, 16, 18, 16, 8, new Window(3, 1, 1, 1, 0, 2));

        // And such as change it: a line less, and as many pixels in a picture that is two lines less high and broader instead.
        yield return Conv("18x16x16 padded 1, 1, 1, 0", 1, 18, 16, 16, 8, new Window(3, 1, 1, 1, 1, 0));
        yield return Conv("16x30x16 padded 1, 3, 1, 0", 1, 16, 30, 16, 8, new Window(3, 1, 1, 3, 1, 0));
        yield return Case("resize 9x10x32 to 18x20 into conv", g => (Root(g) / "c").Conv(X(g, 2, 9, 10, 32).Resize(18, 20), 20));
        yield return Case("conv 17x16x32 with item bias, silu and residual", g =>
        {
            var x = X(g, 2, 17, 16, 32);
            var h = (Root(g) / "c").Conv(x, 32) + (Root(g) / "t").Linear(X(g, 2, 1, 1, 12, "t"), 32);
            return (Root(g) / "d").Conv(h.Silu(), 32) + x;
        });

        yield return Conv("3x3 unpadded", 2, 6, 5, 7, 12, new Window(3, 1, 0, 0, 0, 0));
        yield return Conv("1x1 stride 2", 1, 7, 6, 12, 10, new Window(1, 2, 0, 0, 0, 0));
        yield return Conv("1x1", 2, 6, 7, 12, 34, Window.Pointwise);
        yield return Conv("1x1 padded", 1, 3, 4, 12, 10, new Window(1, 1, 1, 0, 0, 1));

        static OpCase Conv(string what, int n, int h, int w, int from, int to, Window window) =>
            Case($"conv {what}", g => (Root(g) / "c").Conv(X(g, n, h, w, from), to, window));
    }

    /// <summary>Sources smaller than the window too, which it sees several times over.</summary>
    private static IEnumerable<OpCase> CircularConvolutions()
    {
        foreach (var (n, h, w, from, to) in new[]
        {
            (1, 1, 1, 3, 4), (1, 1, 70, 3, 33), (2, 9, 1, 17, 4), (2, 3, 5, 64, 70), (1, 17, 19, 8, 8), (3, 6, 8, 300, 16),
            (1, 2, 150, 5, 8), (1, 2, 16, 16, 8),
        })
        {
            yield return Conv($"{n}x{h}x{w}x{from} to {to}", n, h, w, from, to, Window.Same(3));
            yield return Conv($"{n}x{h}x{w}x{from} to {to} stride 2", n, h, w, from, to, Window.Same(3, stride: 2));
            yield return Conv($"{n}x{h}x{w}x{from} to {to} padded 2, 0, 1, 3", n, h, w, from, to, new Window(3, 1, 2, 0, 1, 3));
        }

        foreach (var (h, w, th, tw) in new[] { (3, 4, 6, 8), (3, 2, 5, 3), (1, 2, 1, 3), (5, 35, 10, 70) })
        {
            yield return Circular(
                $"resize {h}x{w} to {th}x{tw} into circular conv", s => (s / "c").Conv(X(s.Graph, 2, h, w, 9).Resize(th, tw), 20));
        }

        yield return Circular("1x1 beside circular convs", s => (s / "c").Conv(X(s.Graph, 2, 3, 4, 9), 20, kernel: 1));

        static OpCase Conv(string what, int n, int h, int w, int from, int to, Window window) =>
            Circular($"circular conv {what}", s => (s / "c").Conv(X(s.Graph, n, h, w, from), to, window));

        static OpCase Circular(string name, Func<Scope, Value> record) =>
            new(name, g => g.Output("out", record(new Scope(g)))) { Circular = true };
    }

    /// <summary>Each rule's own graph; run unfused they test the kernels that it saves.</summary>
    private static IEnumerable<OpCase> Fusions()
    {
        foreach (var (n, h, w, c, th, tw) in new[]
        {
            (2, 3, 4, 8, 6, 8), (1, 3, 2, 5, 5, 3), (1, 1, 2, 40, 1, 3), (2, 2, 3, 33, 4, 5), (1, 4, 4, 16, 7, 8), (1, 5, 35, 3, 10, 70),
            (2, 7, 9, 16, 4, 5),
        })
        {
            yield return Case($"resize {h}x{w}x{c} to {th}x{tw} into conv", g => (Root(g) / "c").Conv(X(g, n, h, w, c).Resize(th, tw), 20));
            yield return Case(
                $"resize {h}x{w}x{c} to {th}x{tw} into conv stride 2", g => (Root(g) / "c").Conv(X(g, n, h, w, c).Resize(th, tw), 20, Window.Same(3, stride: 2)));
        }

        foreach (var activation in Enum.GetValues<Activation>().Skip(1))
        {
            foreach (var columns in new[] { 7, 32, 70 })
            {
                yield return Case($"linear to {columns} and {activation}",
                    g => (Root(g) / "l").Linear(X(g, 1, 1, 9, 40), columns).Activate(activation));
            }
        }

        foreach (var (rows, columns, depth) in new[] { (1, 16, 8), (9, 48, 33), (5, 80, 600), (300, 16, 20), (4, 20, 12) })
        {
            yield return Case($"geglu {rows}x{depth} to {columns}",
                g => (Root(g) / "l").Linear(X(g, 1, 1, rows, depth), 2 * columns).Geglu());
        }

        foreach (var biases in new[] { 1, 3 })
        {
            foreach (var columns in new[] { 6, 40 })
            {
                yield return Case($"conv to {columns}, plus {biases} rows of bias",
                    g => (Root(g) / "c").Conv(X(g, 3, 4, 5, 12), columns) + X(g, biases, 1, 1, columns, "t"));
                yield return Case(
                    $"conv to {columns}, plus {biases} rows of bias, Silu, plus residual",
                    g => ((Root(g) / "c").Conv(X(g, 3, 4, 5, 12), columns) + X(g, biases, 1, 1, columns, "t")).Silu()
                        + X(g, 3, 4, 5, columns, "y"));
            }
        }

        foreach (var columns in new[] { 1, 15, 16, 17, 64, 70 })
        {
            yield return Case($"linear to {columns}, plus residual",
                g => (Root(g) / "l").Linear(X(g, 2, 1, 7, 20), columns) + X(g, 2, 1, 7, columns, "y"));
        }

        foreach (var activation in Enum.GetValues<Activation>().Skip(1))
        {
            yield return Case(
                $"conv to 21, plus residual, {activation}",
                g => ((Root(g) / "c").Conv(X(g, 2, 3, 5, 12), 21) + X(g, 2, 3, 5, 21, "y")).Activate(activation));
        }

        yield return Case("linear, plus what it reads", g =>
        {
            var x = X(g, 1, 1, 13, 24);
            return (Root(g) / "l").Linear(x, 24) + x;
        });
        yield return Case("siblings of 5, 40 and 33 columns", g =>
        {
            var x = X(g, 2, 1, 7, 30);
            var s = Root(g);
            return (s / "a").Linear(x, 5, bias: false).Concat((s / "b").Linear(x, 40)).Concat((s / "c").Linear(x, 33));
        });
        yield return Case("attention on merged siblings", g =>
        {
            var x = X(g, 2, 1, 35, 24);
            var s = Root(g);
            var (q, k, v) = ((s / "q").Linear(x, 40), (s / "k").Linear(x, 40), (s / "v").Linear(x, 40));
            return (s / "out").Linear(s.Attention(q, k, v, heads: 5), 24) + x;
        });
    }

    /// <summary>
    /// Every kernel with a source and with a target whose rows are apart: a slice of merged siblings, a place in a concatenation.
    /// </summary>
    private static IEnumerable<OpCase> Pitches()
    {
        var ops = new (string Name, Func<Scope, Value, Value> Apply)[]
        {
            ("linear", (s, x) => (s / "l").Linear(x, 30)),
            ("conv", (s, x) => (s / "c").Conv(x, 30)),
            ("conv stride 2, then resize", (s, x) => (s / "c").Conv(x, 30, stride: 2).Resize(x.Shape.H, x.Shape.W)),
            ("linear, plus residual", (s, x) => (s / "l").Linear(x, x.C) + x),
            ("geglu", (s, x) => x.Geglu()),
            ("linear and geglu", (s, x) => (s / "l").Linear(x, 64).Geglu()),
            ("silu", (s, x) => x.Silu()),
            ("group norm", (s, x) => (s / "n").GroupNorm(x, 4, 1e-5).Silu()),
            ("layer norm", (s, x) => (s / "n").LayerNorm(x, 1e-5)),
            ("attention", (s, x) => s.Attention(x, x, x, heads: 2)),
            ("sum", (s, x) => x + x.Silu()),
        };
        foreach (var (name, apply) in ops)
        {
            yield return Case($"{name} between slice and concatenation", g =>
            {
                var x = X(g, 2, 3, 4, 20);
                var s = Root(g);
                var (a, b) = ((s / "a").Linear(x, 24), (s / "b").Linear(x, 36));
                return (s / "d").Linear(a, 9).Silu().Concat(apply(s, b)).Concat(x);
            });
        }

        yield return Case("concatenation within a concatenation", g =>
        {
            var x = X(g, 2, 3, 4, 20);
            var s = Root(g);
            var inner = (s / "a").Conv(x, 17).Concat((s / "b").Conv(x, 23));
            return (s / "n").GroupNorm(inner.Concat((s / "c").Conv(x, 8)), 8, 1e-5);
        });
        yield return Case("concatenation of the same value twice", g =>
        {
            var h = (Root(g) / "a").Conv(X(g, 1, 3, 4, 20), 17);
            return h.Concat(h);
        });
    }

    private static IEnumerable<OpCase> Attentions()
    {
        foreach (var (n, heads, size, queries, keys) in new[]
        {
            (1, 1, 4, 1, 1), (1, 8, 4, 8, 77), (2, 3, 8, 33, 5), (1, 2, 8, 130, 130), (2, 8, 40, 9, 77), (1, 1, 40, 1, 64),
            (1, 2, 40, 65, 63),
            (1, 4, 80, 31, 129), (1, 2, 160, 32, 65), (1, 1, 512, 24, 70), (1, 1, 257, 3, 3), (1, 1, 520, 2, 5), (2, 5, 64, 20, 77),
            (1, 3, 1, 7, 9), (1, 1, 8, 300, 10),
        })
        {
            yield return Attention($"attention {n} x {heads} heads of {size}, {queries} on {keys}", n, heads, size, queries, keys,
                causal: false);
        }

        foreach (var (n, heads, size, tokens) in new[]
        {
            (1, 2, 64, 77), (2, 3, 8, 5), (1, 1, 4, 1), (1, 1, 40, 130), (2, 1, 8, 300), (1, 1, 8, 64), (1, 1, 8, 65),
        })
        {
            yield return Attention($"causal attention {n} x {heads} heads of {size}, {tokens} tokens", n, heads, size, tokens, tokens,
                causal: true);
        }

        static OpCase Attention(string what, int n, int heads, int size, int queries, int keys, bool causal) => Case(what, g =>
        {
            var (q, k, v) = (X(g, n, 1, queries, heads * size, "q"), X(g, n, 1, keys, heads * size, "k"),
                X(g, n, 1, keys, heads * size, "v"));
            return Root(g).Attention(q, k, v, heads, causal);
        });
    }

    private static IEnumerable<OpCase> Norms()
    {
        foreach (var (n, h, w, c, groups) in new[]
        {
            (1, 1, 1, 32, 32), (2, 3, 5, 64, 32), (1, 7, 1, 24, 8), (2, 3, 3, 320, 32), (3, 5, 5, 10, 2), (1, 33, 31, 32, 32),
            (2, 16, 33, 48, 4),
            (1, 50, 41, 20, 4), (2, 64, 64, 8, 4), (1, 46, 56, 96, 32), (1, 1, 2577, 3, 1), (2, 5, 27, 160, 2), (1, 9, 8, 80, 80),
            (2, 5, 7, 160, 8), (1, 15, 17, 240, 8), (2, 13, 11, 72, 8), (1, 1, 1, 80, 2), (1, 45, 29, 80, 2),
            (1, 32, 32, 80, 4), (1, 513, 514, 1, 1), (1, 40, 45, 80, 2), (1, 160, 160, 8, 1),
        })
        {
            yield return Case($"group norm {n}x{h}x{w}x{c}, {groups} groups, Silu",
                g => (Root(g) / "n").GroupNorm(X(g, n, h, w, c), groups, 1e-6).Silu());
        }

        yield return Case("group norm, Silu elsewhere", g =>
        {
            var x = (Root(g) / "n").GroupNorm(X(g, 1, 4, 5, 16), 4, 1e-5);
            return x.Concat(x.Silu());
        });
        foreach (var (n, h, w, c, groups) in new[] { (2, 3, 4, 20, 4), (1, 5, 27, 10, 2), (2, 44, 50, 48, 8), (1, 9, 8, 64, 32), (2, 9, 8, 96, 8) })
        {
            yield return Case($"group norm {n}x{h}x{w}x{c}, {groups} groups, over its source",
                g => (Root(g) / "d").Linear((Root(g) / "n").GroupNorm((Root(g) / "a").Linear(X(g, n, h, w, 8), c), groups, 1e-5).Silu(), 9));
        }

        yield return Case("activations over a layer norm, each over its source",
            g => (Root(g) / "d").Linear((Root(g) / "n").LayerNorm(X(g, 2, 3, 5, 27), 1e-5).Silu().Affine(0.75, 0.5).Activate(Activation.Gelu), 9));
        yield return Moved("group norm of values around 100", 1e-4, "fp32 holds 100 + u to 4e-6 of u's size, and so do the means",
            g => (Root(g) / "n").GroupNorm(X(g, 2, 20, 30, 32), 8, 1e-5));
        yield return Moved("group norm of 32x32x64 around 100", 1e-4, "as above",
            g => (Root(g) / "n").GroupNorm(X(g, 1, 32, 32, 64), 8, 1e-5));
        yield return Moved("group norm of 2200 rows around 100", 1e-4, "as above",
            g => (Root(g) / "n").GroupNorm(X(g, 1, 44, 50, 32), 8, 1e-5));
        yield return Moved("layer norm of values around 100", 1e-4, "as above", g => (Root(g) / "n").LayerNorm(X(g, 1, 1, 40, 70), 1e-5));

        foreach (var (rows, c) in new[] { (1, 1), (77, 32), (5, 17), (33, 70), (9, 320), (3, 768), (65, 15) })
        {
            yield return Case($"layer norm {rows}x{c}", g => (Root(g) / "n").LayerNorm(X(g, 1, 1, rows, c), 1e-5));
        }

        static OpCase Moved(string what, double limit, string reason, Func<Graph, Value> record)
        {
            var plain = Case(what, record);
            return new OpCase(what, g => g.Output("out", record(g)))
            {
                FloatLimit = limit,
                LimitReason = reason,
                Values = (name, _) => name == "x"
                    ? [.. plain.InputValues(plain.Record().Inputs.Last()).Select(v => 100 + (float)Math.Round(v * 16) / 16)] : null,
            };
        }
    }

    private static IEnumerable<OpCase> Pointwise()
    {
        foreach (var activation in new[] { Activation.Silu, Activation.Gelu, Activation.QuickGelu })
        {
            yield return new OpCase($"{activation} from -20 to 20", g => g.Output("out", X(g, 1, 1, 21, 39).Activate(activation)))
            {
                Values = (name, count) => name == "x" ? [.. Enumerable.Range(0, count).Select(i => (i - 409) / 20.45f)] : null,
            };
        }

        // Odd widths, and such as GPUs move eight values of at a time.
        foreach (var c in new[] { 33, 72 })
        {
            yield return Case($"affine function of {c}", g => X(g, 2, 3, 5, c).Affine(-1.5, 0.25));
            yield return Case($"sum of {c}", g => X(g, 2, 3, 5, c) + X(g, 2, 3, 5, c, "y"));
            yield return Case($"sum of {c} with a row an item", g => X(g, 2, 3, 5, c) + X(g, 2, 1, 1, c, "y"));
            yield return Case($"sum of {c} with one row", g => X(g, 2, 3, 5, c) + X(g, 1, 1, 1, c, "y"));
            yield return Case($"silu of {c}", g => X(g, 2, 3, 5, c).Silu());
            yield return Case($"geglu of {2 * c}", g => X(g, 1, 1, 17, 2 * c).Geglu());
            yield return Case($"concatenation of inputs of 3 and {c}", g => X(g, 2, 3, 5, 3).Concat(X(g, 2, 3, 5, c, "y")));
            yield return Case($"concatenation of inputs of 8 and {c}", g => X(g, 2, 3, 5, 8).Concat(X(g, 2, 3, 5, c, "y")));
        }

        foreach (var (h, w, th, tw, c) in new[]
        {
            (3, 4, 6, 8, 5), (1, 7, 2, 14, 5), (3, 2, 5, 3, 5), (4, 5, 3, 2, 5), (1, 1, 9, 1, 5), (3, 4, 6, 8, 16), (4, 5, 3, 2, 24),
        })
        {
            yield return Case($"resize {h}x{w}x{c} to {th}x{tw}", g => X(g, 2, h, w, c).Resize(th, tw));
        }

        yield return Case("token embedding", g =>
        {
            var ids = g.Input("ids", new Shape(3, 1, 11, 1), ElementType.Int32, Rate.Step);
            return (Root(g) / "embeddings").TokenEmbedding(ids, vocabulary: 40, size: 19);
        });
        foreach (var (size, cosineFirst, shift) in new[] { (320, true, 0.0), (32, false, 0.0), (64, true, 1.0) })
        {
            yield return new OpCase($"timestep embedding {size}, {(cosineFirst ? "cosines" : "sines")} first, shift {shift}", g =>
            {
                var t = g.Input("t", new Shape(5, 1, 1, 1), ElementType.Float32, Rate.Schedule);
                g.Output("out", (Root(g) / "t").TimestepEmbedding(t, size, cosineFirst, shift));
            })
            {
                FloatLimit = 2e-5,
                LimitReason = "frequencies and angles up to 999 are fp32, as in diffusers",
            };
        }
    }

    private static OpCase Case(string name, Func<Graph, Value> record) => new(name, g => g.Output("out", record(g)));

    private static Scope Root(Graph graph) => new(graph);

    private static Value X(Graph graph, int n, int h, int w, int c, string key = "x") =>
        graph.Input(key, new Shape(n, h, w, c), ElementType.Activation, Rate.Step);
}
