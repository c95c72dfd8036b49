using System.Diagnostics;
using StableDiffusion.Ilgpu.Benchmarks.Serving;

namespace StableDiffusion.Ilgpu.Benchmarks.Compare;

/// <summary>A process that stays and does one piece of work at a time: the asking side of <see cref="Server"/>.</summary>
internal sealed class ServedContender : IContender
{
    private readonly Process process;
    private readonly Task<string> errors;
    private readonly Answer greeting;

    private ServedContender(string name, Process process)
    {
        (Name, this.process) = (name, process);
        errors = process.StandardError.ReadToEndAsync();
        greeting = Read();
    }

    public string Name { get; }

    public string About => greeting.Text("about") ?? "says nothing of itself";

    /// <summary>Starts a program and waits until its model is ready.</summary>
    /// <exception cref="StableDiffusionException">It cannot be started or did not get ready.</exception>
    public static ServedContender Start(string name, string program, IEnumerable<string> arguments)
    {
        var info = new ProcessStartInfo(program, arguments)
        {
            WorkingDirectory = Repository.Root,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        Process process;
        try
        {
            process = Process.Start(info)!;
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            throw new StableDiffusionException($"{name}: {program} cannot be started: {e.Message}", e);
        }

        try
        {
            return new ServedContender(name, process);
        }
        catch
        {
            End(process);
            throw;
        }
    }

    /// <summary>GFLOP of a piece of work, as the process states it.</summary>
    /// <exception cref="StableDiffusionException">It states none.</exception>
    public double Gflop(Work work) => greeting.Number($"{work.Key}_gflop")
        ?? throw new StableDiffusionException($"{Name}: does not say how many operations a {work} takes");

    public double? Measure(Work work) => Ask(work.Key).Number(work.MillisecondsKey)
        ?? throw new StableDiffusionException($"{Name}: answered without {work.MillisecondsKey}");

    /// <summary>The result of a piece of work, channels last.</summary>
    public float[] Output(Work work) => Ask(work.Key + Server.OutputSuffix).Values(work.Key + Server.OutputSuffix);

    public void Dispose() => End(process);

    private static void End(Process process)
    {
        // The end of its input ends it; a process that is in the middle of something is ended with what it started.
        process.StandardInput.Close();
        if (!process.WaitForExit(TimeSpan.FromSeconds(10)))
        {
            process.Kill(entireProcessTree: true);
        }

        process.Dispose();
    }

    private Answer Ask(string request)
    {
        try
        {
            process.StandardInput.WriteLine(request);
            process.StandardInput.Flush();
        }
        catch (IOException)
        {
            // It has ended; reading says why.
        }

        return Read();
    }

    private Answer Read()
    {
        if (process.StandardOutput.ReadLine() is { } line)
        {
            return Answer.Parse(Name, line);
        }

        process.WaitForExit();
        var last = errors.Result.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).LastOrDefault();
        throw new StableDiffusionException($"{Name}: ended with exit code {process.ExitCode}: {last ?? "it said nothing"}");
    }
}
