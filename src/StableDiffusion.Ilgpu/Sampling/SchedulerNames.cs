namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>The schedules as command lines and pictures' metadata name them.</summary>
internal static class SchedulerNames
{
    /// <summary>The short name, the display name (of the metadata's "Schedule type") and other short names of each schedule.</summary>
    private static readonly (Scheduler Scheduler, string Name, string DisplayName, string[] Aliases)[] Schedules =
    [
        (Scheduler.Discrete, "discrete", "Uniform", []),
        (Scheduler.Normal, "normal", "Normal", []),
        (Scheduler.Karras, "karras", "Karras", []),
        (Scheduler.Exponential, "exponential", "Exponential", []),
        (Scheduler.SgmUniform, "sgm_uniform", "SGM Uniform", []),
        (Scheduler.Simple, "simple", "Simple", []),
        (Scheduler.Beta, "beta", "Beta", []),
        (Scheduler.AlignYourSteps, "ays", "Align Your Steps", ["align_your_steps"]),
    ];

    /// <summary>Every schedule.</summary>
    public static IReadOnlyList<Scheduler> All { get; } = [.. Schedules.Select(s => s.Scheduler)];

    /// <summary>The short names to choose from.</summary>
    public static IReadOnlyList<string> Choices { get; } = [.. Schedules.SelectMany(s => s.Aliases.Prepend(s.Name))];

    public static string NameOf(Scheduler scheduler) => Schedules.First(s => s.Scheduler == scheduler).Name;

    public static string DisplayNameOf(Scheduler scheduler) => Schedules.First(s => s.Scheduler == scheduler).DisplayName;

    /// <summary>All that it is called: the display name, the short name and aliases.</summary>
    public static IEnumerable<string> NamesOf(Scheduler scheduler) =>
        Schedules.Where(s => s.Scheduler == scheduler).SelectMany(s => s.Aliases.Prepend(s.Name).Prepend(s.DisplayName));

    /// <summary>The schedule of a short name, an alias or a display name, in any case.</summary>
    /// <exception cref="StableDiffusionException">There is none; the message lists the short names and aliases.</exception>
    public static Scheduler Find(string name)
    {
        foreach (var known in All)
        {
            if (NamesOf(known).Contains(name, StringComparer.OrdinalIgnoreCase))
            {
                return known;
            }
        }

        throw new StableDiffusionException($"unknown scheduler \"{name}\": choose one of {string.Join(", ", Choices)}");
    }
}
