using Spectre.Console;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>What a command talks to.</summary>
/// <param name="Output">Takes results.</param>
/// <param name="Error">Takes errors.</param>
/// <param name="Interactive">True where somebody watches the output, so that progress is worth drawing.</param>
/// <param name="Cancellation">Ctrl-C.</param>
internal sealed record CommandContext(TextWriter Output, TextWriter Error, bool Interactive, CancellationToken Cancellation)
{
    // Tables in files and pipes keep one line a row.
    private const int WidthWhenRedirected = 400;

    /// <summary>Variables of the environment.</summary>
    public Func<string, string?> Environment { get; init; } = System.Environment.GetEnvironmentVariable;

    /// <summary>The wait before the second try of a request over the network.</summary>
    public TimeSpan FirstRetryDelay { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>A console for tables and progress; plain text where nobody watches.</summary>
    public IAnsiConsole CreateConsole()
    {
        var settings = new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Output) };
        if (!Interactive)
        {
            (settings.Ansi, settings.ColorSystem, settings.Interactive) =
                (AnsiSupport.No, ColorSystemSupport.NoColors, InteractionSupport.No);
        }

        var console = AnsiConsole.Create(settings);
        if (!Interactive)
        {
            console.Profile.Width = WidthWhenRedirected;
        }

        return console;
    }
}
