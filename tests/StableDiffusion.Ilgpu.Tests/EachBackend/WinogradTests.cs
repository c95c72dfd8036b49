using StableDiffusion.Ilgpu.Compilation;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>
/// Winograd's convolutions with fp32 storage, where their own error shows. Everywhere else they are held to the limits of fp16 storage, and fp32 storage
/// is computed without them.
/// </summary>
[Collection(SharedDevice.Name)]
public sealed class WinogradTests(DeviceFixture fixture)
{
    /// <summary>
    /// The transforms multiply sums by up to 8 and add parts that nearly cancel, so a few times the direct sum's error must be expected: its
    /// limit of 1e-6 times ten, a fiftieth of what storing the result as fp16 costs.
    /// </summary>
    private const double Limit = 1e-5;

    public static TheoryData<string> Backends => [.. Backend.Names.Where(name => !Backend.Find(name).Half)];

    [Theory]
    [MemberData(nameof(Backends))]
    public void Error_is_small_with_fp32_storage(string backend)
    {
        var comparisons = new Comparisons();
        var cases = 0;
        foreach (var op in OpCases.All)
        {
            using var run = new GuardedRun<float>(
                op.Record(), FusionOptions.All with { Winograd = true }, fixture.DeviceOf(Backend.Find(backend)), fixture.Kernels<float>(Backend.Find(backend)), op.OpenWeights());
            if (run.Launches.Any(IsWinograd))
            {
                float[] expected = [.. Reference.Evaluate(op.Record(), OpRun.StoredData(op, half: false))["out"].Select(v => (float)v)];
                comparisons.Compare($"{op.Name}, {backend}, Winograd", run.Run(op.InputValues)["out"], expected, Limit);
                cases++;
            }
        }

        Assert.True(cases >= 7, $"only {cases} cases are large enough");
        comparisons.Verify();
    }

    [Fact]
    public void Fp16_storage_uses_it_and_fp32_storage_does_not()
    {
        Assert.True(Uses<ushort>(FusionOptions.All));
        Assert.False(Uses<ushort>(FusionOptions.None));
        Assert.False(Uses<float>(FusionOptions.All));

        bool Uses<T>(FusionOptions fusion) where T : unmanaged => OpCases.All.Any(op =>
        {
            using var run = new GuardedRun<T>(
                op.Record(), fusion, fixture.Device, fixture.Kernels<T>(Backend.All.First(b => b.Half == (typeof(T) == typeof(ushort)))), op.OpenWeights());
            return run.Launches.Any(IsWinograd);
        });
    }

    private static bool IsWinograd<T>(Launch<T> launch) where T : unmanaged => launch.Kernel.StartsWith("winograd", StringComparison.Ordinal);
}
