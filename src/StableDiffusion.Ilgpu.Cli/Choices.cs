namespace StableDiffusion.Ilgpu.Cli;

/// <summary>The names that stand for samplers, schedules and generators on the command line.</summary>
internal static class Choices
{
    public static string SamplerNames => string.Join(", ", Samplers.All.Select(s => s.Name));

    public static string SchedulerNames => Names<Scheduler>();

    public static string NoiseGeneratorNames => Names<NoiseGenerator>();

    /// <summary>Finds a sampler by name, alias or display name.</summary>
    public static Sampler Sampler(string text) =>
        Samplers.All.FirstOrDefault(s => s.Aliases.Append(s.Name).Append(s.DisplayName).Any(n => Same(n, text)))
        ?? throw Unknown("sampler", text, SamplerNames);

    /// <summary>Finds a schedule; <c>normal</c> is what other tools call <c>discrete</c>.</summary>
    public static Scheduler Scheduler(string text) =>
        Same(text, "normal") ? Ilgpu.Scheduler.Discrete : Find<Scheduler>("scheduler", text);

    public static NoiseGenerator NoiseGenerator(string text) => Find<NoiseGenerator>("rng", text);

    private static T Find<T>(string what, string text) where T : struct, Enum
    {
        foreach (var value in Enum.GetValues<T>())
        {
            if (Same(value.ToString(), text))
            {
                return value;
            }
        }

        throw Unknown(what, text, Names<T>());
    }

    private static string Names<T>() where T : struct, Enum =>
        string.Join(", ", Enum.GetNames<T>().Select(n => n.ToLowerInvariant()));

    private static bool Same(string a, string b) => string.Equals(a, b, StringComparison.OrdinalIgnoreCase);

    private static StableDiffusionException Unknown(string what, string text, string valid) =>
        new($"unknown {what} '{text}'; valid: {valid}");
}
