using System.Diagnostics;
using Spectre.Console;
using Spectre.Console.Rendering;
using StableDiffusion.Ilgpu.Imaging;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>
/// The progress bar of a run with step, steps per second and time left; draws nothing where nobody watches.
/// </summary>
internal sealed class ProgressDisplay : IProgress<GenerationProgress>
{
    private const int MostColumns = 64;
    private const int LinesForText = 4;

    private readonly ProgressTask? task;
    private readonly Action<string> writeLine;
    private readonly StepClock clock;
    private readonly Screen screen;

    private ProgressDisplay(ProgressTask? task, StepClock clock, Screen screen, Action<string> writeLine) =>
        (this.task, this.clock, this.screen, this.writeLine) = (task, clock, screen, writeLine);

    /// <summary>Runs <paramref name="work"/> with a display that is gone when it returns or throws.</summary>
    public static void Run(CommandContext context, Action<ProgressDisplay> work)
    {
        if (!context.Interactive)
        {
            work(new ProgressDisplay(null, new StepClock(), new Screen(_ => null), context.WriteLine));
            return;
        }

        var output = new BarOutput(context.Output);
        var console = context.CreateConsole(output);
        var clock = new StepClock();
        var protocol = console.Profile.Capabilities.Ansi ? InlinePicture.Find(context.Environment) : InlineProtocol.None;
        var screen = new Screen(preview => Draw(preview, console, protocol));
        console.Progress().AutoClear(true)
            .Columns(new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn(), new StepColumn(clock))
            .UseRenderHook((bar, _) => screen.Picture is { } shown ? new Rows(shown, bar) : bar)
            .Start(progress =>
            {
                try
                {
                    work(new ProgressDisplay(progress.AddTask("loading").IsIndeterminate(), clock, screen, WriteLine));
                }
                finally
                {
                    if (screen.Clear())
                    {
                        output.Write(InlinePicture.Removal(protocol));
                    }
                }
            });

        void WriteLine(string line)
        {
            console.Write(new Line(CommandContext.Shown(line)));
            output.ThrowIfFailed();
            (screen.Picture as KittyPicture)?.Move();
        }
    }

    /// <summary>Prints a line above the bar.</summary>
    public void WriteLine(string line) => writeLine(line);

    /// <summary>The progress of pictures from <paramref name="first"/> on, of <paramref name="count"/> in all.</summary>
    public IProgress<GenerationProgress> Part(int first, int count) => new Pictures(this, first, count);

    /// <summary>
    /// Shows a preview above the bar, in place of the one before: as it is where the terminal takes pictures (iTerm2's way below the one
    /// before), else as blocks of colours.
    /// </summary>
    public void Show(GeneratedImage preview) => screen.Show(preview);

    /// <inheritdoc/>
    public void Report(GenerationProgress value)
    {
        if (task is null)
        {
            return;
        }

        task.Description = PictureOf(value) + value.Stage.ToString().ToLowerInvariant();
        if (value.Stage == GenerationStage.Sampling)
        {
            clock.Report(value);
            task.IsIndeterminate = false;
            task.MaxValue = (double)value.StepCount * value.ImageCount;
            task.Value = ((double)value.StepCount * value.Image) + ((double)value.Step * value.BatchSize);
        }
    }

    private static string PictureOf(GenerationProgress value) => value.ImageCount == 1 ? ""
        : value.BatchSize == 1 ? $"picture {value.Image + 1}/{value.ImageCount}: "
        : $"pictures {value.Image + 1} to {value.Image + value.BatchSize} of {value.ImageCount}: ";

    private sealed class Pictures(ProgressDisplay display, int first, int count) : IProgress<GenerationProgress>
    {
        public void Report(GenerationProgress value) => display.Report(value with { Image = first + value.Image, ImageCount = count });
    }

    private static Renderable? Draw(GeneratedImage preview, IAnsiConsole console, InlineProtocol protocol)
    {
        var mostLines = Math.Max(1, console.Profile.Height - LinesForText);
        if (protocol != InlineProtocol.None)
        {
            var (columns, lines) = HalfBlockPicture.Fit(preview, Math.Min(MostColumns, console.Profile.Width), mostLines);
            var png = StepsPicture.Encode(".png", [preview], "");
            if (protocol == InlineProtocol.Kitty)
            {
                return new KittyPicture(png, columns, lines);
            }

            // Drawing the bar would wipe it out: such pictures stay, one below the other. What was the bar's place is cleared first.
            console.Write(new ControlCode($"\e[J{InlinePicture.Sequence(protocol, png, columns, lines)}\n"));
            return null;
        }

        return console.Profile.Capabilities is { Ansi: true, Unicode: true, ColorSystem: ColorSystem.EightBit or ColorSystem.TrueColor }
            ? new HalfBlockPicture(preview, MostColumns, mostLines) : null;
    }

    /// <summary>What is shown above the bar; written by the working thread, read by the drawing one.</summary>
    private sealed class Screen(Func<GeneratedImage, Renderable?> draw)
    {
        private volatile Renderable? picture;

        public Renderable? Picture => picture;

        public void Show(GeneratedImage preview) => picture = draw(preview);

        /// <returns>Whether anything was shown.</returns>
        public bool Clear()
        {
            var shown = picture is not null;
            picture = null;
            return shown;
        }
    }

    /// <summary>
    /// A line as it is, in the bar's place: a terminal that is too narrow breaks it by itself, and what is copied from there has no breaks of ours. The
    /// bar goes first: erased from a line's end on, a line as wide as the terminal would lose its last letter.
    /// </summary>
    private sealed class Line(string text) : Renderable
    {
        protected override IEnumerable<Segment> Render(RenderOptions options, int maxWidth) =>
            options.Ansi ? [Segment.Control("\e[K"), new Segment(text), Segment.LineBreak] : [new Segment(text), Segment.LineBreak];
    }

    /// <summary>The part behind the bar.</summary>
    private sealed class StepColumn(StepClock clock) : ProgressColumn
    {
        protected override bool NoWrap => true;

        public override IRenderable Render(RenderOptions options, ProgressTask task, TimeSpan deltaTime) => new Spectre.Console.Text(clock.Text);
    }

    /// <summary>Measures steps, not the text encoder and decoder between them. A step of a batch counts once for each picture.</summary>
    private sealed class StepClock
    {
        private long last;
        private TimeSpan inSteps;
        private long steps;

        /// <summary>Step, steps per second and time left; read by the drawing thread.</summary>
        public string Text { get; private set; } = "";

        public void Report(GenerationProgress value)
        {
            var (step, stepCount) = (value.Step, value.StepCount);
            if (step > 0 && last != 0)
            {
                inSteps += Stopwatch.GetElapsedTime(last);
                steps += value.BatchSize;
            }

            // The time after a picture's last step belongs to the decoder.
            last = step == stepCount ? 0 : Stopwatch.GetTimestamp();
            var text = $"step {step}/{stepCount}";
            if (steps > 0)
            {
                var stepsLeft = ((value.ImageCount - value.Image) * (long)stepCount) - ((long)step * value.BatchSize);
                var secondsLeft = (long)Math.Ceiling(inSteps.TotalSeconds / steps * stepsLeft);
                text += $"  {steps / inSteps.TotalSeconds:0.00} steps/s  {secondsLeft / 60}:{secondsLeft % 60:00} left";
            }

            Text = text;
        }
    }
}
