using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>The kernels for matrix units of OpenCL's GPUs, on any device: their vendors' functions are emulated (<see cref="EmulatedMatrixUnit{TUnit}"/>).</summary>
[Collection(SharedDevice.Name)]
public sealed class MatrixUnitTests
{
    /// <summary>Multiprocessors that any tiles keep busy, and more than any tiles would.</summary>
    private const int Few = 0;
    private const int Many = int.MaxValue / 32;

    private static readonly MatrixUnit[] Units =
    [
        new MatrixUnit<EmulatedMatrixUnit<IntelMatrixUnit8>>("Intel 8"),
        new MatrixUnit<EmulatedMatrixUnit<IntelMatrixUnit16>>("Intel 16"),
        new MatrixUnit<EmulatedMatrixUnit<AmdMatrixUnit11>>("RDNA 3"),
        new MatrixUnit<EmulatedMatrixUnit<AmdMatrixUnit12>>("RDNA 4"),
        new MatrixUnit<EmulatedMatrixUnit<AmdMatrixUnit64>>("CDNA"),
    ];

    public static MatrixTheoryData<string, string> Cases => new(Units.Select(u => u.ToString()), OpenClDevice.Names);

    [Theory]
    [MemberData(nameof(Cases))]
    public void Contractions_are_right_and_do_not_depend_on_the_tile(string unitName, string deviceName)
    {
        OpenClDevice.Open(deviceName);
        var unit = Units.Single(u => u.ToString() == unitName);
        using var device = DeviceSession.Open(ComputeDevice.Find(deviceName), builder =>
        {
            BackendProfile.RegisterOpenCl(builder);
            unit.Register(builder);
        });
        var loader = new DeviceKernelLoader(device.Accelerator);
        var (large, small) = (unit.Kernels(loader, Few), unit.Kernels(loader, Many));
        var comparisons = new Comparisons();
        var onUnits = 0;
        foreach (var op in ContractionCases.All)
        {
            float[] expected = [.. Reference.Evaluate(op.Record(), OpRun.StoredData(op, half: true))["out"].Select(v => (float)v)];
            var (values, kernels) = Run(device, op, large);
            comparisons.Compare($"{op.Name}, {unit}, large tiles", values, expected, op.Limit(half: true));
            Assert.True(values.AsSpan().SequenceEqual(Run(device, op, small).Values), $"{op.Name}, {unit}: the sums depend on the tile");
            onUnits += kernels.Count(k => k.StartsWith("gemm 128x64", StringComparison.Ordinal));
        }

        comparisons.Verify();
        TestContext.Current.TestOutputHelper?.WriteLine($"{onUnits} contractions on matrix units");
        Assert.True(onUnits >= ContractionCases.All.Count);
    }

    private static (float[] Values, string[] Kernels) Run(DeviceSession device, OpCase op, KernelSet<ushort> kernels)
    {
        using var run = new GuardedRun<ushort>(op.Record(), FusionOptions.All, device, kernels, op.OpenWeights());
        return (run.Run(op.InputValues)["out"], [.. run.Launches.Select(l => l.Kernel)]);
    }
}
