using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>
/// The kernels for matrix units of OpenCL's GPUs: on any device with their vendors' functions emulated (<see cref="EmulatedMatrixUnit{TUnit}"/>), and on a device
/// that has such units with its own.
/// </summary>
[Collection(SharedDevice.Name)]
public sealed class MatrixUnitTests
{
    /// <summary>Multiprocessors that any tiles keep busy, and more than any tiles would.</summary>
    private const int Few = 0;
    private const int Many = int.MaxValue / 32;

    private const string Own = "the device's own";

    private static readonly Dictionary<string, MatrixUnit> Emulated = new()
    {
        ["Intel 8"] = new MatrixUnit<EmulatedMatrixUnit<IntelMatrixUnit8>>(),
        ["Intel 16"] = new MatrixUnit<EmulatedMatrixUnit<IntelMatrixUnit16>>(),
        ["RDNA 3"] = new MatrixUnit<EmulatedMatrixUnit<AmdMatrixUnit11>>(),
        ["RDNA 4"] = new MatrixUnit<EmulatedMatrixUnit<AmdMatrixUnit12>>(),
        ["CDNA"] = new MatrixUnit<EmulatedMatrixUnit<AmdMatrixUnit64>>(),
        ["RDNA 2"] = new MatrixUnit<EmulatedMatrixUnit<AmdDotUnit>>(),
    };

    /// <summary>Less than a fragment has, with and without rest; all of an output's columns; several parts of them.</summary>
    private static readonly int[] HeadSizes = [8, 40, 64, 168];

    public static TheoryData<string> Devices => [.. OpenClDevice.Names];

    public static IEnumerable<TheoryDataRow<string, string>> Cases =>
    [
        .. OpenClDevice.Names.SelectMany(device => Emulated.Keys.Select(unit => new TheoryDataRow<string, string>(unit, device))),
        .. OpenClDevice.All.Where(d => OwnUnit(d) is not null).Select(d => new TheoryDataRow<string, string>(Own, d.Id)),
    ];

    [Theory]
    [MemberData(nameof(Cases))]
    public void Contractions_are_right_and_do_not_depend_on_the_tile(string unitName, string deviceName)
    {
        var unit = UnitOf(unitName, deviceName);
        using var device = Open(deviceName, unit);
        var loader = new DeviceKernelLoader(device.Accelerator);
        var (large, small) = (unit.Kernels(loader, Few), unit.Kernels(loader, Many));
        var comparisons = new Comparisons();
        var onUnits = 0;
        foreach (var op in ContractionCases.All.Concat(OpCases.All.Where(c => c.Name.Contains("logit", StringComparison.Ordinal) || c.Name.StartsWith("attention by it", StringComparison.Ordinal)
            || c.Name.StartsWith("linear, ", StringComparison.Ordinal))))
        {
            float[] expected = [.. Reference.Evaluate(op.Record(), OpRun.StoredData(op, half: true))["out"].Select(v => (float)v)];
            var (values, kernels) = Run(device, op, large);
            comparisons.Compare($"{op.Name}, {unitName}, large tiles", values, expected, op.Limit(half: true));
            Assert.True(values.AsSpan().SequenceEqual(Run(device, op, small).Values), $"{op.Name}, {unitName}: the sums depend on the tile");
            onUnits += kernels.Count(k => k.StartsWith("gemm 128x64", StringComparison.Ordinal));
        }

        comparisons.Verify();
        TestContext.Current.TestOutputHelper?.WriteLine($"{onUnits} contractions on matrix units");
        Assert.True(onUnits >= ContractionCases.All.Count);
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Attention_is_right(string unitName, string deviceName)
    {
        var unit = UnitOf(unitName, deviceName);
        using var device = Open(deviceName, unit);
        var kernels = unit.Kernels(new DeviceKernelLoader(device.Accelerator), Few);
        var comparisons = new Comparisons();
        foreach (var run in HeadSizes.SelectMany(AttentionRuns.Of))
        {
            comparisons.Report($"{run}, {unitName}", run.Error(run.Run(device.Accelerator, kernels)), AttentionRuns.HalfLimit);
        }

        var three = new AttentionRun(3, 2, 40, 70, 90);
        var (together, alone) = (three.Run(device.Accelerator, kernels), (three with { Items = 1 }).Run(device.Accelerator, kernels));
        Assert.True(together.AsSpan(0, alone.Length).SequenceEqual(alone), $"{unitName}: an item's result depends on its batch");
        comparisons.Verify();
    }

    /// <summary>All of a model together, for a unit of either layout.</summary>
    [Theory]
    [MemberData(nameof(Devices))]
    public void The_bundled_model_agrees_with_the_processor(string deviceName)
    {
        const int Size = 16, Steps = 2;
        OpenClDevice.Open(deviceName);
        var processor = DeviceSession.OpenCpu(Environment.ProcessorCount);
        using var expected = new DemoRun(processor, BackendProfile.HalfKernels(processor, BackendProfile.Best));
        var comparisons = new Comparisons();
        foreach (var unitName in new[] { "Intel 8", "RDNA 3" })
        {
            var device = Open(deviceName, Emulated[unitName]);
            using var run = new DemoRun(device, BackendProfile.MatrixKernels(device, Emulated[unitName])!);
            comparisons.Compare($"{unitName}, latents after {Steps} steps", run.Sample(Size, Steps), expected.Sample(Size, Steps), Limits.FinalLatents(half: true));
        }

        comparisons.Verify();
    }

    /// <summary>Before its kernels are used for a device, a unit must have given the right products there, and the right attention.</summary>
    [Theory]
    [MemberData(nameof(Devices))]
    public void Units_that_multiply_wrongly_or_do_not_compile_are_not_used(string deviceName)
    {
        Assert.True(IsUsed(new MatrixUnit<EmulatedMatrixUnit<IntelMatrixUnit8>>()));
        Assert.True(IsUsed(new MatrixUnit<EmulatedMatrixUnit<AmdMatrixUnit11>>()));
        Assert.False(IsUsed(new MatrixUnit<Wrong<IntelMatrixUnit8, OtherColumns>>()));
        Assert.False(IsUsed(new MatrixUnit<Wrong<AmdMatrixUnit11, OtherColumns>>()));
        Assert.False(IsUsed(new MatrixUnit<Wrong<IntelMatrixUnit8, OtherExponentials>>()));
        Assert.False(IsUsed(new MatrixUnit<IntelMatrixUnit16>()));
        Assert.False(IsUsed(new MatrixUnit<AmdMatrixUnit12>()));

        bool IsUsed(MatrixUnit unit)
        {
            using var device = Open(deviceName, unit);
            return BackendProfile.MatrixKernels(device, unit) is not null;
        }
    }

    private static MatrixUnit UnitOf(string name, string device) => name == Own ? OwnUnit(ComputeDevice.Find(device))! : Emulated[name];

    private static MatrixUnit? OwnUnit(ComputeDevice device) => BackendProfile.UnitOf(device.Driver);

    private static DeviceSession Open(string name, MatrixUnit unit)
    {
        OpenClDevice.Open(name);
        return DeviceSession.Open(ComputeDevice.Find(name), builder => BackendProfile.RegisterOpenCl(builder, unit));
    }

    private static (float[] Values, string[] Kernels) Run(DeviceSession device, OpCase op, KernelSet<ushort> kernels)
    {
        using var run = new GuardedRun<ushort>(op.Record(), FusionOptions.All, device, kernels, op.OpenWeights());
        return (run.Run(op.InputValues)["out"], [.. run.Launches.Select(l => l.Kernel)]);
    }

    /// <summary>A unit whose text is not what its device does.</summary>
    private readonly struct Wrong<TUnit, TMistake> : IMatrixUnit
        where TUnit : struct, IMatrixUnit
        where TMistake : struct, IMistake
    {
        public int Lanes => default(TUnit).Lanes;

        public int Rows => default(TUnit).Rows;

        public int Columns => default(TUnit).Columns;

        public int RowFragments => default(TUnit).RowFragments;

        public int Parts => default(TUnit).Parts;

        public FragmentLayout Layout => default(TUnit).Layout;

        public string Attributes => "";

        public string Text => default(TMistake).In(default(EmulatedMatrixUnit<TUnit>).Text);

        public string Locals => default(EmulatedMatrixUnit<TUnit>).Locals;
    }

    private interface IMistake
    {
        string In(string text);
    }

    /// <summary>Lanes have sums of other columns than the text says.</summary>
    private readonly struct OtherColumns : IMistake
    {
        public string In(string text) => text.Replace("#define MATRIX_COLUMN(i) ", "#define MATRIX_COLUMN(i) 1 ^ ", StringComparison.Ordinal);
    }

    /// <summary>Only attention comes out wrong: contractions need no exponentials.</summary>
    private readonly struct OtherExponentials : IMistake
    {
        public string In(string text) => text + "#define exp2(x) exp(x)\n";
    }
}
