using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Graphs;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>Every operator case on every backend, unfused and fused, against <see cref="Reference"/>.</summary>
[Collection(SharedDevice.Name)]
public sealed class OpTests(DeviceFixture fixture)
{
    private static IEnumerable<OpCase> InterpretedCases => OpCases.All.Where(c => c.Flops <= Backend.InterpretedFlops);

    public static MatrixTheoryData<string, string> Cases => new(OpCases.All.Select(c => c.Name), Backend.Names);

    public static MatrixTheoryData<string, string> Interpreted => new(InterpretedCases.Select(c => c.Name), Backend.Interpreted.Select(b => b.ToString()));

    [Fact]
    public void Which_leaves_run()
    {
        TestContext.Current.TestOutputHelper?.WriteLine(
            $"fastest leaf: {BackendProfile.Best}; backends: {string.Join(", ", Backend.Names)}");
        TestContext.Current.TestOutputHelper?.WriteLine(
            $"{string.Join(", ", Backend.Interpreted)}: the {InterpretedCases.Count()} of {OpCases.All.Count} cases with at most {Backend.InterpretedFlops} multiplications and additions");
        foreach (var missing in Backend.LeftOut)
        {
            TestContext.Current.TestOutputHelper?.WriteLine($"left out: {missing}");
        }

        Assert.Contains(Backend.All, b => b.Leaf == LeafKind.Portable);
        Assert.Contains(Backend.All, b => b.Leaf == BackendProfile.Best);
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Result_is_right(string name, string backend)
    {
        var (op, target) = (OpCases.All.Single(c => c.Name == name), Backend.Find(backend));
        if (target.Half)
        {
            Check<ushort>(op, target);
        }
        else
        {
            Check<float>(op, target);
        }
    }

    /// <summary>The kernels for NVIDIA's GPUs.</summary>
    [Theory]
    [MemberData(nameof(Interpreted))]
    public void Result_of_interpreted_kernels_is_right(string name, string backend)
    {
        fixture.Interpreter.TakeStatistics();
        Result_is_right(name, backend);
        foreach (var (kernel, statistics) in fixture.Interpreter.TakeStatistics())
        {
            TestContext.Current.TestOutputHelper?.WriteLine($"{name}, {backend}, {kernel}: {statistics}");
        }
    }

    private void Check<T>(OpCase op, Backend backend) where T : unmanaged
    {
        var comparisons = new Comparisons();
        float[] expected = [.. Reference.Evaluate(op.Record(), OpRun.StoredData(op, backend.Half))["out"].Select(v => (float)v)];
        var unfused = OpRun.Run<T>(fixture, backend, op, FusionOptions.None);
        var fused = OpRun.Run<T>(fixture, backend, op, FusionOptions.All);
        var limit = op.Limit(backend.Half);
        comparisons.Compare($"{op.Name}, {backend}, unfused", unfused, expected, limit);
        comparisons.Compare($"{op.Name}, {backend}, fused", fused, expected, limit);
        comparisons.Compare($"{op.Name}, {backend}, fused against unfused", fused, unfused, 2 * limit);
        comparisons.Verify();
    }

    [Fact]
    public void Launches_count_the_cases_operations()
    {
        foreach (var op in OpCases.All)
        {
            using var run = new GuardedRun<float>(op.Record(), FusionOptions.All, fixture.Device, fixture.Kernels<float>(Backend.All[1]),
                op.OpenWeights());
            Assert.Equal(op.Flops, run.Launches.Sum(l => l.Flops));
        }
    }
}
