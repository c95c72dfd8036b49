using System.Diagnostics;
using System.Text;
using StableDiffusion.Ilgpu.Cli;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EndToEnd;

/// <summary>What a run of the program gave.</summary>
internal sealed record CliRun(int Exit, string Output, string Error)
{
    /// <summary>The lines of the output.</summary>
    public string[] Lines => Output.Replace("\r\n", "\n", StringComparison.Ordinal).Split('\n', StringSplitOptions.RemoveEmptyEntries);

    public static CliRun InProcess(params string[] arguments) => InProcessUntil(TestContext.Current.CancellationToken, arguments);

    public static CliRun InProcessUntil(CancellationToken cancellation, params string[] arguments)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        var exit = CommandLine.Run(arguments, new CommandContext(output, error, Interactive: false, cancellation));
        return new CliRun(exit, output.ToString(), error.ToString());
    }

    /// <summary>
    /// The program as a process of its own; <paramref name="whileRunning"/> gets it as soon as it has started. Variables of
    /// <paramref name="environment"/> are set, or taken away where they are null. <paramref name="program"/> is its folder, where that is not the tests'.
    /// </summary>
    public static async Task<CliRun> InChildProcess(
        string[] arguments, Func<Process, Task>? whileRunning = null, IReadOnlyDictionary<string, string?>? environment = null, string? program = null)
    {
        // Under a shell that ignores signals, as interrupts for background jobs, its children would ignore them too.
        string[] command = OperatingSystem.IsLinux() ? ["env", "--default-signal=INT,TERM,HUP", "dotnet"] : ["dotnet"];
        var start = new ProcessStartInfo(
            command[0], [.. command[1..], Path.Combine(program ?? AppContext.BaseDirectory, "sdilgpu.dll"), .. arguments])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardOutputEncoding = Encoding.UTF8,
            StandardErrorEncoding = Encoding.UTF8,
        };
        foreach (var (name, value) in environment ?? new Dictionary<string, string?>())
        {
            start.Environment[name] = value;
        }

        using var process = Process.Start(start)!;
        var output = process.StandardOutput.ReadToEndAsync();
        var error = process.StandardError.ReadToEndAsync();
        if (whileRunning is not null)
        {
            await whileRunning(process);
        }

        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        try
        {
            await process.WaitForExitAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            Assert.Fail("the program did not end within a minute");
        }

        return new CliRun(process.ExitCode, await output, await error);
    }

    /// <summary>One line of error with these parts, no output, no trace.</summary>
    public void AssertFailed(int exit, string[] parts)
    {
        TestContext.Current.TestOutputHelper?.WriteLine(Error.TrimEnd());
        Assert.Equal(exit, Exit);
        Assert.Equal("", Output);
        Assert.StartsWith("error: ", Error, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', Error.TrimEnd());
        Assert.DoesNotContain("   at ", Error, StringComparison.Ordinal);
        Assert.DoesNotContain("unexpected", Error, StringComparison.Ordinal);
        Assert.All(parts, part => Assert.Contains(part, Error, StringComparison.Ordinal));
    }
}
