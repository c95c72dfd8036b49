using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Kernels;
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

    public static TheoryData<int> HeadSizes => [.. Sizes];

    [Theory]
    [MemberData(nameof(HeadSizes))]
    public void Agrees_with_fp64_without_bank_conflicts(int headSize)
    {
        var comparisons = new Comparisons();
        using PtxKernelLoader early = new("SM_80", CopyLanding.Early), late = new("SM_80", CopyLanding.Late);
        CudaKernels[] sets = [.. new[] { early, late }.SelectMany(loader => Multiprocessors.Select(m => new CudaKernels(loader, m)))];
        foreach (var run in AttentionRuns.Of(headSize))
        {
            ushort[][] results = [.. sets.Select(kernels => run.Run(fixture.Device.Accelerator, kernels))];
            comparisons.Report(run.ToString(), run.Error(results[0]), AttentionRuns.HalfLimit);
            Assert.All(results, other => Assert.True(other.AsSpan().SequenceEqual(results[0]), $"{run}: the result depends on the group's size, or on when copies land"));
        }

        foreach (var (name, executed) in late.TakeStatistics())
        {
            TestContext.Current.TestOutputHelper?.WriteLine($"{name}: {executed}");
            Assert.True(name.Contains("attention", StringComparison.Ordinal) && executed.Products > 0, $"{name} multiplies on no tensor core");
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
        var together = three.Run(fixture.Device.Accelerator, new CudaKernels(loader, 2));
        var alone = (three with { Items = 1 }).Run(fixture.Device.Accelerator, new CudaKernels(loader, 2));
        Assert.True(together.AsSpan(0, alone.Length).SequenceEqual(alone));
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
        var error = run.Error(run.Run(fixture.Device.Accelerator, new CudaKernels(loader, 0)));
        var comparisons = new Comparisons();
        comparisons.Report(run.ToString(), error, AttentionRuns.HalfLimit);
        comparisons.Verify();
        Assert.All(loader.TakeStatistics().Values, executed => Assert.Equal(0, executed.Products));
    }

    [Fact]
    public void Agrees_on_a_device()
    {
        var devices = ComputeDevice.All.Where(d => d.Kind == DeviceKind.Cuda).ToArray();
        if (devices.Length == 0)
        {
            Assert.Skip("no CUDA device");
        }

        var comparisons = new Comparisons();
        foreach (var device in devices)
        {
            var accelerator = OpenDevices.Get(device).Accelerator;
            var loader = new DeviceKernelLoader(accelerator);
            CudaKernels[] sets = [.. Multiprocessors.Select(m => new CudaKernels(loader, m))];
            foreach (var run in Sizes.SelectMany(AttentionRuns.Of))
            {
                ushort[][] results = [.. sets.Select(kernels => run.Run(accelerator, kernels))];
                comparisons.Report($"{device.Id} {run}", run.Error(results[0]), AttentionRuns.HalfLimit);
                Assert.True(results[0].AsSpan().SequenceEqual(results[1]), $"{run}: the result depends on the group's size");
            }
        }

        comparisons.Verify();
    }
}
