using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Kernels.Attention;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;
using StableDiffusion.Ilgpu.Tests.Ptx;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>
/// Attention on tensor cores: what an NVIDIA GPU would run, interpreted on any machine, and on the GPU itself where there is one.
/// </summary>
[Collection(SharedDevice.Name)]
public sealed class TensorAttentionTests(DeviceFixture fixture)
{
    /// <summary>So many multiprocessors that groups are small, and so few that they are large.</summary>
    private static readonly int[] Multiprocessors = [1 << 20, 0];

    private static readonly int[] Sizes = [8, 16, 24, 32, 40, 48, 64, 80, 96, 128, 160, 256, 384, 512];

    /// <summary>Of heads that fit into the shared memory of compute capability 7.5.</summary>
    private const int MostTuringChannels = 128;

    public static TheoryData<int> HeadSizes => [.. Sizes];

    public static TheoryData<int> WarpgroupHeadSizes => [.. WarpgroupSizes];

    private static int[] WarpgroupSizes => [.. Sizes.Where(s => s <= WarpgroupAttentionShape.MostChannels)];

    [Theory]
    [MemberData(nameof(HeadSizes))]
    public void Agrees_with_fp64_without_bank_conflicts(int headSize)
    {
        var comparisons = new Comparisons();
        using PtxKernelLoader early = new("SM_80", CopyLanding.Early), late = new("SM_80", CopyLanding.Late), turing = new("SM_75");
        var sets = (from loader in new[] { early, late } from m in Multiprocessors select new CudaKernels(loader, m, TensorCores.Ampere)).ToList();
        if (headSize <= MostTuringChannels)
        {
            sets.AddRange(Multiprocessors.Select(m => new CudaKernels(turing, m, TensorCores.Turing)));
        }

        foreach (var run in AttentionRuns.Of(headSize))
        {
            ushort[][] results = [.. sets.Select(kernels => run.Run(fixture.Device.Accelerator, kernels))];
            comparisons.Report(run.ToString(), run.Error(results[0]), AttentionRuns.HalfLimit);
            Assert.All(results, other => Assert.True(other.AsSpan().SequenceEqual(results[0]), $"{run}: the result depends on the group's size, on when copies land, or on the architecture"));
        }

        foreach (var (name, executed) in late.TakeStatistics().Concat(turing.TakeStatistics()))
        {
            TestContext.Current.TestOutputHelper?.WriteLine($"{name}: {executed}");
            Assert.True(name.Contains("attention", StringComparison.Ordinal) && executed.Products > 0, $"{name} multiplies on no tensor core");
            Assert.All(Enum.GetValues<SharedAccess>(), kind => Assert.Equal(0, executed.ExtraPasses(kind)));
        }

        comparisons.Verify();
    }

    /// <summary>Hopper's kernel, whatever it is chosen for.</summary>
    [Theory]
    [MemberData(nameof(WarpgroupHeadSizes))]
    public void Agrees_with_fp64_on_warpgroups(int headSize)
    {
        var comparisons = new Comparisons();
        using PtxKernelLoader early = new("SM_90", CopyLanding.Early), late = new("SM_90", CopyLanding.Late);
        foreach (var run in WarpgroupRuns(headSize))
        {
            var result = run.Run(fixture.Device.Accelerator, new WarpgroupKernels(late));
            comparisons.Report(run.ToString(), run.Error(result), AttentionRuns.HalfLimit);
            Assert.True(run.Run(fixture.Device.Accelerator, new WarpgroupKernels(early)).AsSpan().SequenceEqual(result), $"{run}: the result depends on when copies land");
        }

        foreach (var (name, executed) in late.TakeStatistics())
        {
            TestContext.Current.TestOutputHelper?.WriteLine($"{name}: {executed}");
            Assert.True(name.Contains("warpgroup attention", StringComparison.Ordinal) && executed.Products > 0, $"{name} is another kernel");
            Assert.All(Enum.GetValues<SharedAccess>(), kind => Assert.Equal(0, executed.ExtraPasses(kind)));
        }

        comparisons.Verify();
    }

    [Theory]
    [InlineData(40)]
    [InlineData(160)]
    [InlineData(512)]
    public void An_item_gets_the_same_bits_in_any_batch(int headSize)
    {
        using var loader = new PtxKernelLoader();
        var three = new AttentionRun(3, 2, headSize, 70, 90);
        var together = three.Run(fixture.Device.Accelerator, new CudaKernels(loader, 2, TensorCores.Ampere));
        var alone = (three with { Items = 1 }).Run(fixture.Device.Accelerator, new CudaKernels(loader, 2, TensorCores.Ampere));
        Assert.True(together.AsSpan(0, alone.Length).SequenceEqual(alone));
    }

    /// <summary>So many multiprocessors that two items' groups just suffice for them, and one item's do not.</summary>
    [Fact]
    public void An_item_gets_the_same_bits_in_any_batch_on_warpgroups()
    {
        using var loader = new PtxKernelLoader("SM_90");
        var kernels = new CudaKernels(loader, 5, TensorCores.Hopper);
        var three = new AttentionRun(3, 2, 16, 70, 150);
        var together = three.Run(fixture.Device.Accelerator, kernels);
        var alone = (three with { Items = 1 }).Run(fixture.Device.Accelerator, kernels);
        Assert.True(together.AsSpan(0, alone.Length).SequenceEqual(alone));
        Assert.Contains("warpgroup", Assert.Single(loader.TakeStatistics().Keys), StringComparison.Ordinal);
    }

    /// <summary>Queries that see different keys, few keys, few groups.</summary>
    [Theory]
    [InlineData(150, 150, 1, true)]
    [InlineData(70, 77, 1, false)]
    [InlineData(70, 150, 8, false)]
    public void Other_attentions_on_Hopper_go_to_the_other_kernel(int queries, int keys, int multiprocessors, bool causal)
    {
        using var loader = new PtxKernelLoader("SM_90");
        new AttentionRun(3, 2, 16, queries, keys) { Causal = causal }.Run(fixture.Device.Accelerator, new CudaKernels(loader, multiprocessors, TensorCores.Hopper));
        Assert.DoesNotContain("warpgroup", Assert.Single(loader.TakeStatistics().Keys), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(4, 0)]
    [InlineData(56, 0)]
    [InlineData(320, 0)]
    [InlineData(520, 0)]
    [InlineData(40, 4)]
    public void Other_heads_and_pitches_go_to_the_portable_kernel(int headSize, int gap)
    {
        using var loader = new PtxKernelLoader();
        var run = new AttentionRun(1, 1, headSize, 5, 7) { Gaps = (gap, 0, 0, 0) };
        var error = run.Error(run.Run(fixture.Device.Accelerator, new CudaKernels(loader, 0, TensorCores.Ampere)));
        var comparisons = new Comparisons();
        comparisons.Report(run.ToString(), error, AttentionRuns.HalfLimit);
        comparisons.Verify();
        Assert.All(loader.TakeStatistics().Values, executed => Assert.Equal(0, executed.Products));
    }

    [Fact]
    public void Agrees_on_a_device()
    {
        var comparisons = new Comparisons();
        foreach (var device in TensorSession.All())
        {
            var accelerator = device.Session.Accelerator;
            var loader = new DeviceKernelLoader(accelerator);
            var cores = BackendProfile.CoresOf(device.Driver, warpgroups: false)!;
            CudaKernels[] sets = [.. Multiprocessors.Select(m => new CudaKernels(loader, m, cores))];
            foreach (var run in Sizes.SelectMany(AttentionRuns.Of))
            {
                ushort[][] results = [.. sets.Select(kernels => run.Run(accelerator, kernels))];
                comparisons.Report($"{device.Id} {run}", run.Error(results[0]), AttentionRuns.HalfLimit);
                Assert.True(results[0].AsSpan().SequenceEqual(results[1]), $"{run}: the result depends on the group's size");
            }

            if (device.Cores.Warpgroups)
            {
                foreach (var run in WarpgroupSizes.SelectMany(WarpgroupRuns))
                {
                    comparisons.Report($"{device.Id} warpgroups {run}", run.Error(run.Run(accelerator, new WarpgroupKernels(loader))), AttentionRuns.HalfLimit);
                }
            }
        }

        comparisons.Verify();
    }

    /// <summary>Besides those of any kernel, so many keys that stages are filled again.</summary>
    private static IEnumerable<AttentionRun> WarpgroupRuns(int headSize) =>
    [
        .. AttentionRuns.Of(headSize).Where(run => !run.Causal),
        new(1, 2, headSize, 140, 450), new(1, 1, headSize, 128, 512), new(1, 1, headSize, 40, 650) { LargeLogits = true },
    ];

    /// <summary>What Hopper runs, with its attention wherever that gives the right result.</summary>
    private sealed class WarpgroupKernels(IKernelLoader loader) : CudaKernels(loader, 0, TensorCores.Hopper)
    {
        protected override bool PrefersWarpgroups(in AttentionArguments<ushort> attention) => attention.Causal == 0;
    }
}
