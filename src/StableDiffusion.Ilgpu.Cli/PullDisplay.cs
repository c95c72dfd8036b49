using Spectre.Console;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>The bar of the file that is being fetched or checked; draws nothing where nobody watches.</summary>
internal sealed class PullDisplay
{
    private readonly ProgressContext? progress;
    private readonly Action<string> writeLine;
    private ProgressTask? task;

    private PullDisplay(ProgressContext? progress, Action<string> writeLine) => (this.progress, this.writeLine) = (progress, writeLine);

    /// <summary>Runs <paramref name="work"/> with a display that is gone when it returns or throws.</summary>
    public static void Run(CommandContext context, Action<PullDisplay> work)
    {
        if (!context.Interactive)
        {
            work(new PullDisplay(null, context.WriteLine));
            return;
        }

        // Below the bar's place: a line that the terminal has to break would leave parts of the bar behind.
        var lines = new List<string>();
        try
        {
            Draw(context.CreateConsole(new BarOutput(context.Output)), work, lines);
        }
        finally
        {
            lines.ForEach(context.WriteLine);
        }
    }

    private static void Draw(IAnsiConsole console, Action<PullDisplay> work, List<string> lines) =>
        console.Progress().AutoClear(true)
            .Columns(
                new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn(), new DownloadedColumn(),
                new TransferSpeedColumn(), new RemainingTimeColumn())
            .Start(bars => work(new PullDisplay(bars, lines.Add)));

    /// <summary>The bar stands for <paramref name="bytes"/> of something new.</summary>
    public void Begin(string name, long bytes)
    {
        End();
        task = progress?.AddTask(Markup.Escape(CommandContext.Shown(name)), maxValue: bytes);
    }

    /// <summary>Moves the bar; may be called from several threads.</summary>
    public void Advance(long bytes) => task?.Increment(bytes);

    /// <summary>Prints a result: at once, or when the bar is gone.</summary>
    public void WriteLine(string line) => writeLine(line);

    /// <summary>Says at once what goes on.</summary>
    public void Notice(string text)
    {
        if (progress is null)
        {
            writeLine(text);
        }
        else
        {
            Begin(text, 1);
        }
    }

    /// <summary>Takes the bar away.</summary>
    public void End()
    {
        task?.StopTask();
        if (task is not null)
        {
            progress!.RemoveTask(task);
        }

        task = null;
    }
}
