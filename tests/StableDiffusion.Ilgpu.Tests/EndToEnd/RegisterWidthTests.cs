using System.Diagnostics;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Tests.EachBackend;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EndToEnd;

/// <summary>
/// The operator cases and the small models once more in processes of their own, where .NET is told to do without the widest registers, and
/// without any. Not run from within such a process.
/// </summary>
[Collection(SharedDevice.Name)]
public sealed class RegisterWidthTests
{
    private const string LeafLine = "fastest leaf: ";

    [Fact]
    public Task Without_AVX512() => Rerun(ProcessorVectors.Bits > 256 ? LeafKind.Simd256 : BackendProfile.Best, "DOTNET_EnableAVX512");

    [Fact]
    public Task Without_hardware_intrinsics() => Rerun(LeafKind.Simd128, "DOTNET_EnableHWIntrinsic");

    private static async Task Rerun(LeafKind expected, string setting)
    {
        Type[] classes = [typeof(OpTests), typeof(OpReferenceTests), typeof(ActivationTests), typeof(TinyModelTests)];
        var clock = Stopwatch.StartNew();
        var run = await TestProcess.Run(
            ["-showLiveOutput", .. classes.SelectMany(c => new[] { "-class", c.FullName! })], new Dictionary<string, string> { [setting] = "0" },
            TestContext.Current.CancellationToken);

        var lines = run.Output.Split('\n');
        var used = lines.FirstOrDefault(l => l.Contains(LeafLine, StringComparison.Ordinal)) ?? "";
        used = used[Math.Max(0, used.IndexOf(LeafLine, StringComparison.Ordinal))..];
        var summary = lines.LastOrDefault(l => l.Contains("Total: ", StringComparison.Ordinal))?.Trim();
        TestContext.Current.TestOutputHelper?.WriteLine($"{setting}=0: {used}; {summary} ({clock.Elapsed.TotalSeconds:0} s)");
        Assert.True(run.Exit == 0,
            string.Join('\n', lines.Where(l => l.Contains("FAIL", StringComparison.Ordinal))) + run.Error);
        Assert.StartsWith($"{LeafLine}{expected};", used, StringComparison.Ordinal);
    }
}
