using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Kernels;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>
/// Which tile a GPU's contraction takes depends on its size and on the device. It is no part of a result: otherwise a picture would depend on its batch.
/// </summary>
[Collection(SharedDevice.Name)]
public sealed class GpuTileTests(DeviceFixture fixture)
{
    /// <summary>Multiprocessors that any tiles keep busy, and more than any tiles would.</summary>
    private const int Few = 0;
    private const int Many = int.MaxValue / 2;

    [Fact]
    public void Large_and_small_tiles_give_the_same_bits()
    {
        var backends = Backend.All.Where(b => b.Leaf == LeafKind.Gpu).ToArray();
        if (backends.Length == 0)
        {
            Assert.Skip(string.Join("; ", Backend.LeftOut));
        }

        foreach (var backend in backends)
        {
            var device = fixture.DeviceOf(backend);
            var compared = backend.Half
                ? Compare(backend, BackendProfile.HalfGpuKernels(device, Few), BackendProfile.HalfGpuKernels(device, Many))
                : Compare(backend, BackendProfile.FloatGpuKernels(device, Few), BackendProfile.FloatGpuKernels(device, Many));
            TestContext.Current.TestOutputHelper?.WriteLine($"{backend}: {compared} results are the same with large and with small tiles");
            Assert.NotEqual(0, compared);
        }
    }

    private int Compare<T>(Backend backend, KernelSet<T> large, KernelSet<T> small) where T : unmanaged
    {
        var device = fixture.DeviceOf(backend);
        var compared = 0;
        foreach (var op in OpCases.All)
        {
            using var largeRun = new GuardedRun<T>(op.Record(), FusionOptions.All, device, large, op.OpenWeights());
            using var smallRun = new GuardedRun<T>(op.Record(), FusionOptions.All, device, small, op.OpenWeights());
            if (!largeRun.Launches.Select(l => l.Kernel).SequenceEqual(smallRun.Launches.Select(l => l.Kernel)))
            {
                var (a, b) = (largeRun.Run(op.InputValues)["out"], smallRun.Run(op.InputValues)["out"]);
                Assert.True(a.AsSpan().SequenceEqual(b), $"{op.Name}, {backend}: the tiles' results differ");
                compared++;
            }
        }

        return compared;
    }
}
