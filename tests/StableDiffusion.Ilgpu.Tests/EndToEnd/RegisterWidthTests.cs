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
    public Task Without_AVX512() => Rerun(CpuSimd.Width > 256 ? LeafKind.Simd256 : BackendProfile.Best, "DOTNET_EnableAVX512");

    [Fact]
    public Task Without_hardware_intrinsics() => Rerun(LeafKind.Simd128, "DOTNET_EnableHWIntrinsic");

    private static async Task Rerun(LeafKind expected, string setting)
    {
        Type[] classes = [typeof(OpTests), typeof(OpReferenceTests), typeof(ActivationTests), typeof(TinyModelTests)];
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true };
        string[] arguments = [
            typeof(RegisterWidthTests).Assembly.Location, "-noColor", "-showLiveOutput", .. classes.SelectMany(c => new[] { "-class", c.FullName! })];
        Array.ForEach(arguments, start.ArgumentList.Add);

        // Other devices do not depend on the runtime's settings; an empty folder of drivers hides them.
        using var noDrivers = new TemporaryFolder();
        start.Environment["OCL_ICD_VENDORS"] = noDrivers.Path;
        start.Environment[setting] = "0";
        var clock = Stopwatch.StartNew();
        using var process = Process.Start(start)!;
        var errors = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        var output = await process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);

        var lines = output.Split('\n');
        var used = lines.FirstOrDefault(l => l.Contains(LeafLine, StringComparison.Ordinal)) ?? "";
        used = used[Math.Max(0, used.IndexOf(LeafLine, StringComparison.Ordinal))..];
        var summary = lines.LastOrDefault(l => l.Contains("Total: ", StringComparison.Ordinal))?.Trim();
        TestContext.Current.TestOutputHelper?.WriteLine($"{setting}=0: {used}; {summary} ({clock.Elapsed.TotalSeconds:0} s)");
        Assert.True(process.ExitCode == 0,
            string.Join('\n', lines.Where(l => l.Contains("FAIL", StringComparison.Ordinal))) + await errors);
        Assert.StartsWith($"{LeafLine}{expected};", used, StringComparison.Ordinal);
    }
}
