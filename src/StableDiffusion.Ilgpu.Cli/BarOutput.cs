using System.Text;
using Spectre.Console;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>
/// The output that a bar is drawn on. A thread of its own draws it, where nobody would catch an error: once the output takes nothing more, as a terminal
/// that was closed, nothing more is drawn.
/// </summary>
/// <param name="output">The output.</param>
internal sealed class BarOutput(TextWriter output) : GuardedWriter(output), IAnsiConsoleOutput
{
    private readonly AnsiConsoleOutput terminal = new(output);
    private volatile StableDiffusionException? failure;

    public TextWriter Writer => this;

    public bool IsTerminal => terminal.IsTerminal;

    public int Width => terminal.Width;

    public int Height => terminal.Height;

    public void SetEncoding(Encoding encoding) => terminal.SetEncoding(encoding);

    /// <summary>For whoever has written a result.</summary>
    /// <exception cref="StableDiffusionException">The output has not taken everything so far.</exception>
    public void ThrowIfFailed()
    {
        if (failure is { } first)
        {
            throw new StableDiffusionException(first.Message, first);
        }
    }

    protected override void Try(Action write)
    {
        if (failure is not null)
        {
            return;
        }

        try
        {
            write();
        }
        catch (StableDiffusionException e)
        {
            failure = e;
        }
    }
}
