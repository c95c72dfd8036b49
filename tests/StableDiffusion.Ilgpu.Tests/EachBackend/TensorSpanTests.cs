using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Kernels.Gemm;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;
using StableDiffusion.Ilgpu.Tests.Ptx;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>3x3 convolutions whose source pixels are copied once for all taps, interpreted: lines shorter and longer than a tile, several items in one, splits.</summary>
[Collection(SharedDevice.Name)]
public sealed class TensorSpanTests(DeviceFixture fixture)
{
    public static TheoryData<int, int, int, int, int> Sizes => new()
    {
        { 3, 8, 8, 128, 32 },
        { 2, 5, 13, 192, 168 },
        { 1, 3, 64, 64, 160 },
        { 1, 2, 130, 64, 40 },
        { 1, 3, 131, 128, 32 },
        { 2, 2, 200, 64, 32 },
    };

    [Theory]
    [MemberData(nameof(Sizes))]
    public void Give_the_right_sums(int items, int height, int width, int channels, int columns)
    {
        var op = new OpCase($"conv {items}x{height}x{width}x{channels} to {columns}", g =>
        {
            var x = g.Input("x", new Shape(items, height, width, channels), ElementType.Activation, Rate.Step);
            var r = g.Input("r", new Shape(items, height, width, columns), ElementType.Activation, Rate.Step);
            g.Output("out", (new Scope(g) / "c").Conv(x, columns) + r);
        });
        float[] expected = [.. Reference.Evaluate(op.Record(), OpRun.StoredData(op, half: true))["out"].Select(v => (float)v)];
        var comparisons = new Comparisons();
        foreach (var landing in new[] { CopyLanding.Early, CopyLanding.Late })
        {
            foreach (var multiprocessors in new[] { 1, 200 })
            {
                using var loader = new PtxKernelLoader("SM_90", landing);
                using var run = new GuardedRun<ushort>(op.Record(), FusionOptions.All, fixture.Device, new Spans(loader, multiprocessors), op.OpenWeights());
                var values = run.Run(op.InputValues)["out"];
                comparisons.Compare($"{op.Name}, copies {landing}, {multiprocessors} multiprocessors", values, expected, op.Limit(half: true));
                var statistics = loader.TakeStatistics();
                var (kernel, executed) = statistics.Single(s => s.Key.StartsWith("tensor gemm", StringComparison.Ordinal));
                TestContext.Current.TestOutputHelper?.WriteLine($"{kernel}: {executed}");
                Assert.EndsWith("spans", kernel, StringComparison.Ordinal);
                Assert.Equal(0, executed.ExtraPasses(SharedAccess.Matrix));
                Assert.Equal(0, executed.ExtraPasses(SharedAccess.Copy));
                Assert.Equal(0, executed.ExtraPasses(SharedAccess.Store));
            }
        }

        comparisons.Verify();
    }

    private sealed class Spans(IKernelLoader loader, int multiprocessors) : CudaKernels(loader, multiprocessors, TensorCores.Hopper, SpanUse.Always);
}
