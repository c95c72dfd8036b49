namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>The schedules as command lines name them.</summary>
internal static class SchedulerNames
{
    /// <summary>The names to choose from; each schedule's first one is its own, the others are aliases.</summary>
    public static IReadOnlyList<(string Name, Scheduler Scheduler)> All { get; } =
        [("discrete", Scheduler.Discrete), ("normal", Scheduler.Discrete), ("karras", Scheduler.Karras)];

    public static string NameOf(Scheduler scheduler) => All.First(s => s.Scheduler == scheduler).Name;

    /// <summary>The schedule of a name, in any case.</summary>
    /// <exception cref="StableDiffusionException">There is none; the message lists the names.</exception>
    public static Scheduler Find(string name)
    {
        foreach (var known in All)
        {
            if (string.Equals(known.Name, name, StringComparison.OrdinalIgnoreCase))
            {
                return known.Scheduler;
            }
        }

        throw new StableDiffusionException($"unknown scheduler \"{name}\": choose one of {string.Join(", ", All.Select(s => s.Name))}");
    }
}
