using System.Diagnostics;
using System.Text.RegularExpressions;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.Ptx.Driver;

/// <summary>
/// The library on an interpreted NVIDIA GPU: tests of other classes once more, in a process that finds one. Most take a minute or
/// two; <c>tests/cuda.sh</c> runs any others so.
/// </summary>
[Collection(SharedDevice.Name)]
public sealed partial class InterpretedDeviceTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(20);

    [Theory]
    [InlineData("sm_90", "cuda:0 Tensor fp16", "-class *.RecordedLaunchesTests", 3)]
    [InlineData("sm_90", "cuda", "-class *.DeviceSessionTests", 11)]
    [InlineData("sm_90", "cuda", "-method *.CliCompareTests.Other_devices_agree_with_the_processor", 1)]
    [InlineData("sm_90", "cuda", "-method *.TensorAttentionTests.Agrees_on_a_device", 1)]
    [InlineData("sm_80", "cuda:0 Tensor fp16", "-class *.KernelCacheTests", 4)]
    [InlineData("sm_61", "cuda", "-method *.CliCompareTests.Other_devices_agree_with_the_processor", 1)]
    public async Task Tests_pass_on_it(string architecture, string backends, string tests, int least)
    {
        Assert.SkipUnless(InterpretedDriver.CanInstall, InterpretedDriver.CannotInstall);
        Assert.SkipWhen(InterpretedDriver.Installed is not null, "this is such a process");
        var start = new ProcessStartInfo(
            "dotnet", [Path.Combine(AppContext.BaseDirectory, "StableDiffusion.Ilgpu.Tests.dll"), .. tests.Split(' '), "-noColor", "-noLogo"])
        {
            RedirectStandardOutput = true,
        };
        start.Environment[InterpretedDriver.Variable] = architecture;
        start.Environment["SD_TEST_BACKENDS"] = backends;

        // What OpenCL's devices would run again is skipped.
        start.Environment["OCL_ICD_VENDORS"] = AppContext.BaseDirectory;
        start.Environment["OCL_ICD_FILENAMES"] = "";
        using var process = Process.Start(start)!;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(Limit);
        try
        {
            var output = await process.StandardOutput.ReadToEndAsync(limit.Token);
            await process.WaitForExitAsync(limit.Token);
            Assert.True(process.ExitCode == 0, output);
            var summary = Summary().Match(output);
            Assert.True(summary.Success && int.Parse(summary.Groups["total"].Value) - int.Parse(summary.Groups["skipped"].Value) >= least, output);
        }
        finally
        {
            if (!process.HasExited)
            {
                process.Kill(entireProcessTree: true);
            }
        }
    }

    [GeneratedRegex(@"Total: (?<total>\d+), Errors: 0, Failed: 0, Skipped: (?<skipped>\d+),")]
    private static partial Regex Summary();
}
