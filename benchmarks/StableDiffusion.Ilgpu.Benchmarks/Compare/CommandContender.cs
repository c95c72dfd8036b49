using StableDiffusion.Ilgpu.Benchmarks.Serving;

namespace StableDiffusion.Ilgpu.Benchmarks.Compare;

/// <summary>
/// Somebody's command, given as <c>name=command</c> and run anew in each round. The figures in its last line of JSON count; where it
/// prints none, its wall time is all that is known of it.
/// </summary>
internal sealed class CommandContender : IContender
{
    private readonly string command;
    private readonly int size;
    private readonly List<double> seconds = [];
    private Dictionary<Work, double> pending = [];
    private HashSet<Work>? provided;

    private CommandContender(string name, string command, int size) => (Name, this.command, this.size) = (name, command, size);

    public string Name { get; }

    public string About => $"command `{command}`";

    /// <summary>Wall time of each run so far but the first, which warms up.</summary>
    public IReadOnlyList<double> Seconds => [.. seconds.Skip(1)];

    /// <exception cref="StableDiffusionException">The text is not of that form.</exception>
    public static CommandContender Parse(string text, int size)
    {
        var parts = text.Split('=', 2, StringSplitOptions.TrimEntries);
        return parts.Length == 2 && parts.All(p => p.Length > 0) ? new CommandContender(parts[0], parts[1], size)
            : throw new StableDiffusionException($"--peer '{text}' cannot be used; valid: NAME=COMMAND");
    }

    public double? Measure(Work work)
    {
        var isTimedOnly = provided is { Count: 0 };
        if (isTimedOnly ? work != Work.All[0] : provided?.Contains(work) == false)
        {
            return null;
        }

        if (!pending.ContainsKey(work))
        {
            Run();
        }

        return pending.Remove(work, out var milliseconds) ? milliseconds : null;
    }

    public void Dispose()
    {
    }

    private void Run()
    {
        string[] arguments = OperatingSystem.IsWindows() ? ["/c", command] : ["-c", command];
        var environment = new Dictionary<string, string>
        {
            ["SDILGPU_SIZE"] = $"{size}",
            ["SDILGPU_CORES"] = $"{Environment.ProcessorCount}",
        };
        var child = ChildProcess.Run(OperatingSystem.IsWindows() ? "cmd" : "sh", arguments, Repository.Root, environment).Succeeded(Name);
        seconds.Add(child.Time.TotalSeconds);
        pending = Answer.Figures(Name, child.Output);
        provided ??= [.. pending.Keys];
    }
}
