using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Kernels.Gemm;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;
using StableDiffusion.Ilgpu.Tests.Ptx;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>Contractions on tensor cores: their PTX, interpreted, with every tile, with and without splits, on the shapes that their loops tell apart.</summary>
[Collection(SharedDevice.Name)]
public sealed class TensorGemmTests(DeviceFixture fixture)
{
    private static readonly OpCase[] All =
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

    public static TheoryData<string> Cases => [.. All.Select(c => c.Name)];

    /// <summary>Tiles as for devices of all sizes, and copies that land as early or as late as they may.</summary>
    [Theory]
    [MemberData(nameof(Cases))]
    public void Every_tile_gives_the_right_sums(string name)
    {
        var op = All.Single(c => c.Name == name);
        float[] expected = [.. Reference.Evaluate(op.Record(), OpRun.StoredData(op, half: true))["out"].Select(v => (float)v)];
        var comparisons = new Comparisons();
        foreach (var warpgroups in new[] { false, true })
        {
            Check(comparisons, op, expected, warpgroups);
        }

        comparisons.Verify();
    }

    private void Check(Comparisons comparisons, OpCase op, float[] expected, bool warpgroups)
    {
        var name = $"{op.Name}{(warpgroups ? ", wgmma" : "")}";
        float[]? whole = null;
        var (square, wide, low, small) = (TensorTileShape.Of<SquareTile>(), TensorTileShape.Of<WideTile>(), TensorTileShape.Of<LowTile>(), TensorTileShape.Of<SmallTile>());
        var runs = new[] { (wide, CopyLanding.Early), (wide, CopyLanding.Late), (square, CopyLanding.Late), (low, CopyLanding.Early), (small, CopyLanding.Late) };
        foreach (var (tile, landing) in runs)
        {
            var values = Run(op, warpgroups, tile, landing, multiprocessors: 1, split: false);
            comparisons.Compare($"{name}, {tile.Rows}x{tile.Columns}, copies {landing}", values, expected, op.Limit(half: true));
            Assert.True(values.AsSpan().SequenceEqual(whole ??= values), $"{name}: the sums depend on the tile or on when copies land");
        }

        // Each split's sums are fp32, so splitting costs no precision that shows in fp16.
        comparisons.Compare(
            $"{name}, for a large device", Run(op, warpgroups, tile: null, CopyLanding.Late, multiprocessors: 200, split: op.Name.EndsWith("a long sum", StringComparison.Ordinal)), expected,
            op.Limit(half: true));
    }

    [Fact]
    public void Splits_do_not_depend_on_the_batch()
    {
        foreach (var pixels in new[] { 64, 256, 1024, 4096 })
        {
            var item = new GemmArguments<ushort>
            {
                OutputPixels = pixels,
                Rows = pixels,
                Channels = 1280,
                Kernel = 3,
                Depth = 9 * 1280,
                Columns = 1280,
                Panels = 40,
                Height = 8,
                Width = 8,
            };
            int[] splits = [.. new[] { 1, 2, 3, 16 }.Select(n => TensorGemmTiling.Complete(item with { Rows = n * pixels }, 132, 64).Splits)];
            TestContext.Current.TestOutputHelper?.WriteLine($"{pixels} pixels: {splits[0]} splits");
            Assert.Single(splits.Distinct());
        }
    }

    private float[] Run(OpCase op, bool warpgroups, TensorTileShape? tile, CopyLanding landing, int multiprocessors, bool split)
    {
        using var loader = new PtxKernelLoader(landing: landing);
        using var run = new GuardedRun<ushort>(
            op.Record(), FusionOptions.All, fixture.Device, new ChosenTile(loader, multiprocessors, warpgroups, tile), op.OpenWeights());
        var values = run.Run(op.InputValues)["out"];
        var statistics = loader.TakeStatistics();
        var tensor = statistics.Where(s => s.Key.StartsWith("tensor gemm", StringComparison.Ordinal)).ToArray();
        Assert.NotEmpty(tensor);
        Assert.Equal(split, statistics.ContainsKey("tensor splits"));
        foreach (var (kernel, executed) in tensor)
        {
            TestContext.Current.TestOutputHelper?.WriteLine($"{kernel}: {executed}");
            Assert.NotEqual(0, executed.Products);
            Assert.Equal(0, executed.ExtraPasses(SharedAccess.Matrix));
            Assert.Equal(0, executed.ExtraPasses(SharedAccess.Copy));
            Assert.Equal(0, executed.ExtraPasses(SharedAccess.Store));
        }

        return values;
    }

    private static OpCase Case(string name, Func<Graph, Value> record) => new(name, g => g.Output("out", record(g)));

    private static Scope Root(Graph graph) => new(graph);

    private static Value X(Graph graph, int n, int h, int w, int c, string key = "x") => graph.Input(key, new Shape(n, h, w, c), ElementType.Activation, Rate.Step);

    /// <summary>The kernels with one tile for all contractions that fit, or with their own choice.</summary>
    private sealed class ChosenTile(IKernelLoader loader, int multiprocessors, bool warpgroups, TensorTileShape? tile) : CudaKernels(loader, multiprocessors, warpgroups)
    {
        public override void Cut(ref GemmArguments<ushort> contraction)
        {
            base.Cut(ref contraction);
            if (tile is { } chosen && TensorGemmTiling.Fits(contraction))
            {
                (contraction.TileRows, contraction.TilePanels) = (chosen.Rows, chosen.Panels);
            }
        }
    }
}
