using System.Diagnostics;

namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary>A process that was run to its end.</summary>
/// <param name="ExitCode">Zero for success.</param>
/// <param name="Output">What it wrote to standard output.</param>
/// <param name="Error">What it wrote to standard error.</param>
/// <param name="Time">From just before its start to its end.</param>
internal sealed record ChildProcess(int ExitCode, string Output, string Error, TimeSpan Time)
{
    /// <summary>For processes that compute: more of them would only wait for each other, and take the threads that read what they write.</summary>
    public static ParallelOptions OneEachCore { get; } = new() { MaxDegreeOfParallelism = Environment.ProcessorCount };

    /// <summary>Runs a program of this name.</summary>
    /// <exception cref="StableDiffusionException">It cannot be started.</exception>
    public static ChildProcess Run(
        string program, IEnumerable<string> arguments, string folder, IReadOnlyDictionary<string, string>? environment = null)
    {
        var info = new ProcessStartInfo(program, arguments)
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var (name, value) in environment ?? new Dictionary<string, string>())
        {
            info.Environment[name] = value;
        }

        var start = Stopwatch.GetTimestamp();
        try
        {
            using var process = Process.Start(info)!;
            var error = process.StandardError.ReadToEndAsync();
            var output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return new ChildProcess(process.ExitCode, output, error.Result, Stopwatch.GetElapsedTime(start));
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            throw new StableDiffusionException($"{program}: cannot be started: {e.Message}", e);
        }
    }

    /// <summary>Where a program of this name lies on the PATH; null if it does not.</summary>
    public static string? OnPath(string program) => (Environment.GetEnvironmentVariable("PATH") ?? "")
        .Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries)
        .Select(folder => Path.Combine(folder, OperatingSystem.IsWindows() ? $"{program}.exe" : program))
        .FirstOrDefault(File.Exists);

    /// <summary>Runs this program again with other arguments.</summary>
    public static ChildProcess RunSelf(IEnumerable<string> arguments)
    {
        var (program, all) = Self(arguments);
        return Run(program, all, Environment.CurrentDirectory);
    }

    /// <summary>How this program is started with other arguments.</summary>
    public static (string Program, IEnumerable<string> Arguments) Self(IEnumerable<string> arguments)
    {
        // Started as "dotnet FILE.dll", the process is dotnet's own.
        var assembly = typeof(ChildProcess).Assembly.Location;
        var program = Environment.ProcessPath!;
        var isHost = Path.GetFileNameWithoutExtension(program) == "dotnet";
        return (program, isHost ? arguments.Prepend(assembly) : arguments);
    }

    /// <exception cref="StableDiffusionException">It ended with an error.</exception>
    public ChildProcess Succeeded(string what) => ExitCode == 0 ? this
        : throw new StableDiffusionException($"{what} ended with exit code {ExitCode}: {(Error + Output).Trim().ReplaceLineEndings(" ")}");
}
