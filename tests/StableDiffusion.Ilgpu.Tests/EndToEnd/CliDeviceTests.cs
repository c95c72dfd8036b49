using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EndToEnd;

/// <summary>What a user reads of devices: those that are there, and why others are not.</summary>
[Collection(SharedDevice.Name)]
public sealed class CliDeviceTests
{
    [Fact]
    public void Verbose_says_what_drivers_say_and_what_is_left_out()
    {
        var run = CliRun.InProcess("devices", "-v");
        TestContext.Current.TestOutputHelper?.WriteLine(run.Output);
        Assert.Equal((0, ""), (run.Exit, run.Error));
        Assert.Contains($"default: {ComputeDevice.Default}: {ComputeDevice.ReasonFor("auto")}", run.Lines);
        Assert.All(ComputeDevice.LeftOut, line => Assert.Contains(line, run.Lines));
        Assert.Contains($"  vectors: {ProcessorVectors.Bits} bits", run.Lines);
        foreach (var device in OpenClDevice.All)
        {
            Check(device, "platform", "vendor", "driver", "version", "type", "compute units", "memory", "fp16", "matrix instructions", "generic address space");
        }

        foreach (var device in ComputeDevice.All.Where(d => d.Kind == DeviceKind.Cuda))
        {
            Check(device, "driver", "architecture", "memory", "tensor cores");
            Assert.Contains(BackendProfile.LeafOf(device) == LeafKind.Tensor ? "  tensor cores: tried when a model is loaded" : "  tensor cores: none that kernels use", run.Lines);
        }

        void Check(ComputeDevice device, params string[] names)
        {
            var details = run.Lines.SkipWhile(l => l != $"{device}:").Skip(1).TakeWhile(l => l.StartsWith("  ", StringComparison.Ordinal));
            Assert.Equal(names, details.Select(l => l.Trim().Split(':')[0]));
            Assert.All(details, l => Assert.False(l.TrimEnd().EndsWith(':'), $"nothing is said: {l}"));
        }
    }

    [Fact]
    public void A_device_that_auto_chose_is_named_with_the_reason()
    {
        using var folder = new TemporaryFolder();
        var named = CliRun.InProcess("txt2img", "-p", "cat", "-v", "--steps", "1", "--device", "cpu", "-o", folder["a.png"]);
        Assert.EndsWith($" on {ComputeDevice.Find("cpu")}", named.Lines[1], StringComparison.Ordinal);
        Assert.SkipUnless(ComputeDevice.Default.Kind == DeviceKind.Cpu, $"the rest draws on the processor, and the default is {ComputeDevice.Default}");
        var chosen = CliRun.InProcess("txt2img", "-p", "cat", "-v", "--steps", "1", "-o", folder["a.png"]);
        Assert.EndsWith(
            $" on {ComputeDevice.Default}, chosen by auto: {ComputeDevice.ReasonFor("auto")}", chosen.Lines[1], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("", "no driver in ")]
    [InlineData("libno-such-driver.so", "libno-such-driver.so")]
    public async Task Without_an_OpenCL_driver_one_line_says_what_to_install(string driver, string part)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux() && GpuProbe.HasOpenCl, $"{GpuProbe.OpenClName} is what reads the list of drivers that is tested");
        using var folder = new TemporaryFolder();
        if (driver.Length > 0)
        {
            File.WriteAllText(folder["driver.icd"], driver);
        }

        var environment = new Dictionary<string, string?> { ["OCL_ICD_VENDORS"] = folder.Path, ["OCL_ICD_FILENAMES"] = "" };
        var run = await CliRun.InChildProcess(["txt2img", "-p", "cat", "--device", "opencl", "-o", folder["a.png"]], null, environment);
        run.AssertFailed(1, ["no device 'opencl': ", part, "pocl-opencl-icd", "valid: auto, cpu"]);

        var devices = await CliRun.InChildProcess(["devices", "-v"], null, environment);
        Assert.Equal((0, ""), (devices.Exit, devices.Error));
        Assert.DoesNotContain("opencl:0", devices.Output, StringComparison.Ordinal);
        Assert.Single(devices.Lines, l => l.Contains(part, StringComparison.Ordinal) && l.Contains("pocl-opencl-icd", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(DeviceKind.Cuda, "cuda")]
    [InlineData(DeviceKind.OpenCl, "opencl:64")]
    public void A_device_that_is_not_there_is_one_line(DeviceKind kind, string name)
    {
        Assert.SkipWhen(kind == DeviceKind.Cuda && ComputeDevice.All.Any(d => d.Kind == kind), "this machine has a CUDA device");
        using var folder = new TemporaryFolder();
        CliRun.InProcess("txt2img", "-p", "cat", "--device", name, "-o", folder["a.png"])
            .AssertFailed(1, [$"no device '{name}'", "valid: auto, ", .. ComputeDevice.All.Select(d => d.Id)]);
        Assert.Empty(folder.Entries);
    }
}
