using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>Contractions of the shapes that kernels for matrices tell apart: ragged rows, columns and depths, windows of all kinds, every epilogue.</summary>
internal static class ContractionCases
{
    public static IReadOnlyList<OpCase> All { get; } =
    [
        Case("linear 150x64 to 160 with residual", g => (Root(g) / "l").Linear(X(g, 1, 1, 150, 64), 160) + X(g, 1, 1, 150, 160, "r")),
        Case("linear 2x77x40 to 72 with gelu", g => (Root(g) / "l").Linear(X(g, 2, 1, 77, 40), 72).Activate(Activation.Gelu)),
        Case("linear 70x8 to 33", g => (Root(g) / "l").Linear(X(g, 1, 1, 70, 8), 33)),
        Case("geglu 130x72 to 80", g => (Root(g) / "l").Linear(X(g, 1, 1, 130, 72), 160).Geglu()),
        Case("geglu 20x264 to 24", g => (Root(g) / "l").Linear(X(g, 1, 1, 20, 264), 48).Geglu()),
        Case("conv 9x11x40 to 36", g => (Root(g) / "c").Conv(X(g, 2, 9, 11, 40), 36)),
        Case("conv 9x11x32 to 40 with stride 2", g => (Root(g) / "c").Conv(X(g, 2, 9, 11, 32), 40, Window.Same(3, stride: 2))),
        Case("conv 8x10x24 to 32 padded right and below", g => (Root(g) / "c").Conv(X(g, 2, 8, 10, 24), 32, new Window(3, 2, 0, 1, 0, 1))),
        Case("conv 5x7x24 enlarged twice", g => (Root(g) / "c").Conv(X(g, 2, 5, 7, 24).Resize(10, 14), 40)),
        Case("conv 5x7x24 enlarged to 9x13", g => (Root(g) / "c").Conv(X(g, 1, 5, 7, 24).Resize(9, 13), 40)),
        Case("conv 1x1 of 10x12x48 with stride 2", g => (Root(g) / "c").Conv(X(g, 2, 10, 12, 48), 40, new Window(1, 2, 0, 0, 0, 0))),
        Case("conv 10x9x64 to 4", g => (Root(g) / "c").Conv(X(g, 1, 10, 9, 64), 4)),
        Case("conv 8x8x384 to 32, a long sum", g => (Root(g) / "c").Conv(X(g, 1, 8, 8, 384), 32)),
        Case("linear 64x3456 to 40 with residual, a long sum", g => (Root(g) / "l").Linear(X(g, 1, 1, 64, 3456), 40) + X(g, 1, 1, 64, 40, "r")),
        Case("geglu 64x3456 to 24, a long sum", g => (Root(g) / "l").Linear(X(g, 1, 1, 64, 3456), 48).Geglu()),
        Case("conv 7x9x24 to 40 with item bias", g => (Root(g) / "c").Conv(X(g, 2, 7, 9, 24), 40) + (Root(g) / "t").Linear(X(g, 2, 1, 1, 12, "t"), 40)),
        Case("conv with item bias, silu and residual", g =>
        {
            var x = X(g, 2, 6, 5, 32);
            var h = (Root(g) / "c").Conv(x, 32) + (Root(g) / "t").Linear(X(g, 2, 1, 1, 12, "t"), 32);
            return (Root(g) / "d").Conv(h.Silu(), 32) + x;
        }),
        Case("relu of a sum", g =>
        {
            var x = X(g, 1, 6, 7, 40);
            return ((Root(g) / "c").Conv(x, 40) + x).Activate(Activation.Relu);
        }),
        new("circular conv 6x8x24 to 40", g => g.Output("out", (Root(g) / "c").Conv(X(g, 2, 6, 8, 24), 40))) { Circular = true },
        new("circular conv 6x8x24 enlarged", g => g.Output("out", (Root(g) / "c").Conv(X(g, 1, 6, 8, 24).Resize(12, 16), 16))) { Circular = true },
    ];

    private static OpCase Case(string name, Func<Graph, Value> record) => new(name, g => g.Output("out", record(g)));

    private static Scope Root(Graph graph) => new(graph);

    private static Value X(Graph graph, int n, int h, int w, int c, string key = "x") => graph.Input(key, new Shape(n, h, w, c), ElementType.Activation, Rate.Step);
}
