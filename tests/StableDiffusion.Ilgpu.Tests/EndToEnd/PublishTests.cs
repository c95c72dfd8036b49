using System.Diagnostics;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EndToEnd;

/// <summary>What the library's package says to programs that are published in a way in which they could not start.</summary>
public sealed class PublishTests
{
    private static readonly string Targets = Path.Combine(
        ReferenceData.Repository, "src", "StableDiffusion.Ilgpu", "StableDiffusion.Ilgpu.targets");

    [Theory]
    [InlineData("PublishTrimmed", "trimmed")]
    [InlineData("PublishAot", "compiled ahead of time")]
    public async Task Publishing_that_ILGPU_does_not_survive_is_refused_in_one_line(string property, string reason)
    {
        using var folder = new TemporaryFolder();
        await File.WriteAllTextAsync(
            folder["program.proj"], $"""<Project><Import Project="{Targets}" /><Target Name="PrepareForPublish" /></Project>""",
            TestContext.Current.CancellationToken);
        var (exit, output) = await Publish(folder["program.proj"], $"-p:{property}=true");
        Assert.NotEqual(0, exit);
        var line = Assert.Single(output.Split('\n'), l => l.Contains("error", StringComparison.Ordinal));
        Assert.Contains(reason, line, StringComparison.Ordinal);
        Assert.Contains($"publish without {property} ", line, StringComparison.Ordinal);

        (exit, output) = await Publish(folder["program.proj"], "-p:PublishSingleFile=true");
        Assert.True(exit == 0, output);
    }

    private static async Task<(int Exit, string Output)> Publish(string project, string property)
    {
        var start = new ProcessStartInfo(
            "dotnet", ["msbuild", project, "-t:PrepareForPublish", property, "-nologo", "-nodeReuse:false", "-verbosity:quiet"])
        {
            RedirectStandardOutput = true,
        };
        using var process = Process.Start(start)!;
        var output = await process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        return (process.ExitCode, output);
    }
}
