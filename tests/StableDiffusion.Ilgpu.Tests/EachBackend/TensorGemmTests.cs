using StableDiffusion.Ilgpu.Compilation;
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
    public static TheoryData<string> Cases => [.. ContractionCases.All.Select(c => c.Name)];

    /// <summary>Tiles as for devices of all sizes, and copies that land as early or as late as they may.</summary>
    [Theory]
    [MemberData(nameof(Cases))]
    public void Every_tile_gives_the_right_sums(string name)
    {
        var op = ContractionCases.All.Single(c => c.Name == name);
        float[] expected = [.. Reference.Evaluate(op.Record(), OpRun.StoredData(op, half: true))["out"].Select(v => (float)v)];
        var comparisons = new Comparisons();
        foreach (var (cores, loop) in new[] { (TensorCores.Ampere, "mma"), (TensorCores.SmallAmpere, "mma, few stages"), (TensorCores.Turing, "mma of 7.5"), (TensorCores.Hopper, "wgmma") })
        {
            Check(comparisons, op, expected, cores, loop);
        }

        comparisons.Verify();
    }

    private void Check(Comparisons comparisons, OpCase op, float[] expected, TensorCores cores, string loop)
    {
        var name = $"{op.Name}, {loop}";
        float[]? whole = null;
        var tiles = TilesOf(cores);
        foreach (var (tile, landing) in tiles.Select((tile, i) => (tile, i is 1 or 2 ? CopyLanding.Late : CopyLanding.Early)).Prepend((tiles[0], CopyLanding.Late)))
        {
            var values = Run(op, cores, tile, landing, multiprocessors: 1, split: false);
            comparisons.Compare($"{name}, {tile.Rows}x{tile.Columns}, copies {landing}", values, expected, op.Limit(half: true));
            Assert.True(values.AsSpan().SequenceEqual(whole ??= values), $"{name}: the sums depend on the tile or on when copies land");
        }

        // Each split's sums are fp32, so splitting costs no precision that shows in fp16. One group a multiprocessor has other loops.
        foreach (var tile in (TensorTileShape?[])[null, .. tiles.Where(t => t != TensorTileShape.Of<SmallTile>() && t != TensorTileShape.Of<NarrowTile>())])
        {
            var values = Run(op, cores, tile, CopyLanding.Late, multiprocessors: 200, split: op.Name.EndsWith("a long sum", StringComparison.Ordinal));
            comparisons.Compare($"{name}, for a large device, {(tile is { } shape ? $"{shape.Rows}x{shape.Columns}" : "its choice")}", values, expected, op.Limit(half: true));
        }
    }

    /// <summary>With the loops of all GPUs whose instructions and shared memory it has.</summary>
    [Fact]
    public void Every_loop_gives_the_right_sums_on_a_device()
    {
        var comparisons = new Comparisons();
        foreach (var (id, session, _, own) in TensorSession.All())
        {
            var loader = new DeviceKernelLoader(session.Accelerator);
            foreach (var cores in new[] { TensorCores.Turing, TensorCores.SmallAmpere, TensorCores.Ampere, TensorCores.Hopper }
                .Where(c => c.SharedBytes <= own.SharedBytes && (own.Warpgroups || !c.Warpgroups)))
            {
                foreach (var op in ContractionCases.All)
                {
                    float[] expected = [.. Reference.Evaluate(op.Record(), OpRun.StoredData(op, half: true))["out"].Select(v => (float)v)];
                    foreach (var (tile, multiprocessors) in TilesOf(cores).Select(t => ((TensorTileShape?)t, 1)).Append((null, 200)))
                    {
                        using var run = new GuardedRun<ushort>(
                            op.Record(), FusionOptions.All, session, new ChosenTile(loader, multiprocessors, cores, tile), op.OpenWeights());
                        var name = $"{id} {op.Name}, {cores.Loop}, {(tile is { } shape ? $"{shape.Rows}x{shape.Columns}" : "its choice")}";
                        comparisons.Compare(name, run.Run(op.InputValues)["out"], expected, op.Limit(half: true));
                    }
                }
            }
        }

        comparisons.Verify();
    }

    [Fact]
    public void Splits_do_not_depend_on_the_batch()
    {
        foreach (var pixels in new[] { 64, 256, 1024, 4096 })
        {
            var item = new GemmArguments<ushort>
            {
                OutputPixels = pixels,
                OutputWidth = 8,
                Rows = pixels,
                Channels = 1280,
                Kernel = 3,
                Depth = 9 * 1280,
                Columns = 1280,
                Panels = 40,
                Height = 8,
                Width = 8,
            };
            int[] splits = [.. new[] { 1, 2, 3, 16 }.Select(n => TensorGemmTiling.Complete(item with { Rows = n * pixels }, new TensorDevice(132, TensorCores.Hopper, SpanUse.WhereFaster)).Splits)];
            TestContext.Current.TestOutputHelper?.WriteLine($"{pixels} pixels: {splits[0]} splits");
            Assert.Single(splits.Distinct());
        }
    }

    private float[] Run(OpCase op, TensorCores cores, TensorTileShape? tile, CopyLanding landing, int multiprocessors, bool split)
    {
        using var loader = new PtxKernelLoader(ArchitectureOf(cores), landing);
        using var run = new GuardedRun<ushort>(
            op.Record(), FusionOptions.All, fixture.Device, new ChosenTile(loader, multiprocessors, cores, tile), op.OpenWeights());
        var values = run.Run(op.InputValues)["out"];
        var statistics = loader.TakeStatistics();
        var tensor = statistics.Where(s => s.Key.StartsWith("tensor gemm", StringComparison.Ordinal)).ToArray();
        Assert.NotEmpty(tensor);
        Assert.Equal(split, statistics.Keys.Any(k => k.StartsWith("tensor splits", StringComparison.Ordinal)));
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

    private static TensorTileShape[] TilesOf(TensorCores cores)
    {
        var (wide, square, small) = (TensorTileShape.Of<WideTile>(), TensorTileShape.Of<SquareTile>(), TensorTileShape.Of<SmallTile>());
        return cores.Loop switch
        {
            TensorLoopKind.Warpgroups => [wide, square, small, TensorTileShape.Of<TallTile>(), TensorTileShape.Of<NarrowTile>()],
            TensorLoopKind.TuringWarps => [TensorTileShape.Of<TallTile>(), small],
            _ => [wide, square, small, TensorTileShape.Of<LowTile>()],
        };
    }

    private static string ArchitectureOf(TensorCores cores) => cores.Loop switch
    {
        TensorLoopKind.TuringWarps => "SM_75",
        TensorLoopKind.Warpgroups => "SM_90",
        _ => "SM_80",
    };

    /// <summary>The kernels with one tile for all contractions that fit, or with their own choice.</summary>
    private sealed class ChosenTile(IKernelLoader loader, int multiprocessors, TensorCores cores, TensorTileShape? tile)
        : CudaKernels(loader, multiprocessors, cores, SpanUse.Never)
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
