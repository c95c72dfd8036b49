using Spectre.Console;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>What a command talks to.</summary>
/// <param name="Output">Takes results.</param>
/// <param name="Error">Takes errors.</param>
/// <param name="Interactive">True where somebody watches the output, so that progress is worth drawing.</param>
/// <param name="Cancellation">Ctrl-C, and what else stops the program.</param>
internal sealed record CommandContext(TextWriter Output, TextWriter Error, bool Interactive, CancellationToken Cancellation)
{
    /// <summary>More than any table needs.</summary>
    private const int TableWidth = 400;

    /// <summary>Longer than any path, and than a line that quotes no damaged file.</summary>
    private const int LongestLine = 10_000;

    /// <summary>Variables of the environment.</summary>
    public Func<string, string?> Environment { get; init; } = System.Environment.GetEnvironmentVariable;

    /// <summary>The wait before the second try of a request over the network.</summary>
    public TimeSpan FirstRetryDelay { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Prints a result in one line, whatever it quotes.</summary>
    public void WriteLine(string line) => Output.WriteLine(Shown(line));

    /// <summary>A line as it is printed.</summary>
    public static string Shown(string line) => ShownText.OneLine(line, LongestLine);

    /// <summary>
    /// Prints a table with one line a row. Where a terminal is too narrow it breaks the lines itself; a table that were fitted to it would
    /// lose letters and columns.
    /// </summary>
    public void WriteTable(Table table)
    {
        var console = CreateConsole();
        console.Profile.Width = TableWidth;
        console.Write(table);
    }

    /// <summary>A console for tables and progress; plain text where nobody watches.</summary>
    /// <param name="bar">What a bar is drawn on; null where there is none.</param>
    public IAnsiConsole CreateConsole(BarOutput? bar = null)
    {
        var settings = new AnsiConsoleSettings { Out = bar ?? (IAnsiConsoleOutput)new AnsiConsoleOutput(Output) };
        if (!Interactive)
        {
            (settings.Ansi, settings.ColorSystem, settings.Interactive) =
                (AnsiSupport.No, ColorSystemSupport.NoColors, InteractionSupport.No);
        }

        return AnsiConsole.Create(settings);
    }
}
