using System.Text.Json;
using StableDiffusion.Ilgpu.Cli;
using StableDiffusion.Ilgpu.Devices;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EndToEnd;

/// <summary><c>sdilgpu compare</c>.</summary>
[Collection(SharedDevice.Name)]
public sealed class CliCompareTests
{
    private static readonly string[] Components = ["text encoder", "UNet, one step", "decoder", "picture"];

    public static TheoryData<string> Others => [.. OpenClDevice.Names, .. ComputeDevice.All.Where(d => d.Kind == DeviceKind.Cuda).Select(d => d.Id)];

    [Fact]
    public void A_device_agrees_with_itself_to_the_last_bit()
    {
        using var folder = new TemporaryFolder();
        var results = Compare("cpu,cpu", folder["result.json"], steps: 2);
        Assert.Equal(Components.Concat(Components), results.Select(r => r.GetProperty("component").GetString()));
        Assert.All(results, r =>
        {
            Assert.Equal("cpu", r.GetProperty("device").GetString());
            Assert.True(r.GetProperty("seconds").GetDouble() > 0);
            var isPicture = r.GetProperty("component").GetString() == "picture";
            Assert.Equal(0, r.GetProperty(isPicture ? "maxDifference" : "relativeL2").GetDouble());
        });
    }

    [Theory]
    [MemberData(nameof(Others))]
    public void Other_devices_agree_with_the_processor(string name)
    {
        Assert.SkipWhen(name == OpenClDevice.None, OpenClDevices.Problem ?? "");
        using var folder = new TemporaryFolder();
        var comparisons = new Comparisons();
        foreach (var result in Compare($"cpu,{name}", folder["result.json"], steps: 10).Skip(Components.Length))
        {
            var component = result.GetProperty("component").GetString()!;
            if (component == "picture")
            {
                comparisons.Report($"{name} picture, largest difference", result.GetProperty("maxDifference").GetInt32(), 3);
            }
            else
            {
                // Both round to fp16 after different sums: twice the limit that each has beside the reference.
                comparisons.Report($"{name} {component}", result.GetProperty("relativeL2").GetDouble(), 2 * Limits.UNet(half: true));
            }
        }

        comparisons.Verify();
    }

    [Theory]
    [InlineData("cpu", "two devices at least are compared; valid: ")]
    [InlineData("cpu,toaster", "no device 'toaster'")]
    public void Devices_that_cannot_be_compared_are_named(string devices, string message) =>
        CliRun.InProcess("compare", "--devices", devices).AssertFailed(CommandLine.Failure, [message]);

    [Fact]
    public void A_file_that_cannot_be_written_is_named_before_anything_runs()
    {
        using var folder = new TemporaryFolder();
        CliRun.InProcess("compare", "--devices", "cpu,cpu", "--json", folder["missing/result.json"]).AssertFailed(CommandLine.Failure, ["result.json"]);
    }

    /// <summary>A device that computes wrongly is what one compares for: it may give numbers that are none.</summary>
    [Fact]
    public void Results_that_are_no_numbers_are_null_in_the_file()
    {
        var row = new ComparedComponent(ComputeDevice.Processor, "decoder", 1, 1, double.NaN, double.PositiveInfinity, 255);
        var result = CompareCommand.ToJson(new GenerationRequest { Prompt = "" }, [row, row with { RelativeL2 = 0.5 }])["results"]!.AsArray();
        Assert.Equal(["null", "0.5"], result.Select(r => r!["relativeL2"]?.ToJsonString() ?? "null"));
        Assert.All(result, r => Assert.Null(r!["psnr"]));
    }

    private static JsonElement[] Compare(string devices, string file, int steps)
    {
        var run = CliRun.InProcess("compare", "--devices", devices, "--steps", $"{steps}", "--json", file);
        Assert.Equal(CommandLine.Success, run.Exit);
        Assert.All(Components, c => Assert.Contains(c, run.Output, StringComparison.Ordinal));
        return [.. JsonDocument.Parse(File.ReadAllBytes(file)).RootElement.GetProperty("results").EnumerateArray()];
    }
}
