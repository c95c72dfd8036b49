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
    [Theory(Timeout = 20 * 60 * 1000)]
    [InlineData("sm_90", "cuda:0 Tensor fp16", "-class *.RecordedLaunchesTests", 5)]
    [InlineData("sm_90", "cuda", "-class *.DeviceSessionTests", 12)]
    [InlineData("sm_90", "cuda", "-method *.CliCompareTests.Other_devices_agree_with_the_processor", 1)]
    [InlineData("sm_90", "cuda", "-method *.TensorAttentionTests.Agrees_on_a_device", 1)]
    [InlineData("sm_90", "cuda", "-method *.TensorGemmTests.Every_loop_gives_the_right_sums_on_a_device", 1)]
    [InlineData("sm_80", "cuda:0 Tensor fp16", "-class *.KernelCacheTests", 4)]
    [InlineData("sm_90", "cuda", "-class *.TensorKernelChoiceTests", 24)]
    [InlineData("sm_75", "cuda", "-method *.CliDeviceTests.Verbose_says_what_drivers_say_and_what_is_left_out", 1)]
    [InlineData("sm_75", "cuda:0 Tensor fp16", "-method *.OpTests.Result_is_right", 200)]
    [InlineData("sm_86", "cuda:0 Tensor fp16", "-method *.OpTests.Result_is_right", 200)]
    [InlineData("sm_61", "cuda", "-method *.CliCompareTests.Other_devices_agree_with_the_processor", 1)]
    public async Task Tests_pass_on_it(string architecture, string backends, string tests, int least)
    {
        Assert.SkipUnless(InterpretedDriver.CanInstall, InterpretedDriver.CannotInstall);
        Assert.SkipWhen(InterpretedDriver.Installed is not null, "this is such a process");
        var run = await TestProcess.Run(
            tests.Split(' '), new Dictionary<string, string> { [InterpretedDriver.Variable] = architecture, [Backend.WantedVariable] = backends },
            TestContext.Current.CancellationToken);
        Assert.True(run.Exit == 0, run.Output + run.Error);
        var summary = Summary().Match(run.Output);
        Assert.True(summary.Success && int.Parse(summary.Groups["total"].Value) - int.Parse(summary.Groups["skipped"].Value) >= least, run.Output);
    }

    [GeneratedRegex(@"Total: (?<total>\d+), Errors: 0, Failed: 0, Skipped: (?<skipped>\d+),")]
    private static partial Regex Summary();
}
