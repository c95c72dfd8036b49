using System.Diagnostics;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>Tests once more in a process of their own, which finds other settings; it does not outlive the test that started it.</summary>
/// <param name="Exit">0 if all passed.</param>
/// <param name="Output">What the runner printed.</param>
/// <param name="Error">The same of the standard error.</param>
internal sealed record TestProcess(int Exit, string Output, string Error)
{
    /// <summary>OpenCL's devices do not depend on these settings: an empty folder of drivers hides them.</summary>
    /// <param name="arguments">The runner's: which tests.</param>
    /// <param name="environment">Variables that are set.</param>
    /// <param name="cancellation">The test's own.</param>
    public static async Task<TestProcess> Run(IEnumerable<string> arguments, IReadOnlyDictionary<string, string> environment, CancellationToken cancellation)
    {
        using var noDrivers = new TemporaryFolder();
        var start = new ProcessStartInfo("dotnet", [typeof(TestProcess).Assembly.Location, "-noColor", .. arguments])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["OCL_ICD_VENDORS"] = noDrivers.Path;
        start.Environment["OCL_ICD_FILENAMES"] = "";

        // A choice of this process's backends need not name one that there is with other settings.
        start.Environment.Remove(Backend.WantedVariable);
        foreach (var (name, value) in environment)
        {
            start.Environment[name] = value;
        }

        using var process = Process.Start(start)!;
        try
        {
            var error = process.StandardError.ReadToEndAsync(cancellation);
            var output = await process.StandardOutput.ReadToEndAsync(cancellation);
            await process.WaitForExitAsync(cancellation);
            return new(process.ExitCode, output, await error);
        }
        finally
        {
            if (!process.HasExited)
            {
                process.Kill(entireProcessTree: true);
            }
        }
    }
}
