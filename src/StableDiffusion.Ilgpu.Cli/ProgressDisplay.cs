using System.Diagnostics;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>
/// The progress bar of a run with step, steps per second and time left; draws nothing where nobody watches.
/// </summary>
internal sealed class ProgressDisplay : IProgress<GenerationProgress>
{
    private readonly ProgressTask? task;
    private readonly Action<string> writeLine;
    private readonly StepClock clock;
    private string picture = "";
    private int pictureIndex;
    private int pictureCount = 1;

    private ProgressDisplay(ProgressTask? task, StepClock clock, Action<string> writeLine) =>
        (this.task, this.clock, this.writeLine) = (task, clock, writeLine);

    /// <summary>Runs <paramref name="work"/> with a display that is gone when it returns or throws.</summary>
    public static void Run(CommandContext context, Action<ProgressDisplay> work)
    {
        if (!context.Interactive)
        {
            work(new ProgressDisplay(null, new StepClock(), context.Output.WriteLine));
            return;
        }

        var console = context.CreateConsole();
        var clock = new StepClock();
        console.Progress().AutoClear(true)
            .Columns(new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn(), new StepColumn(clock))
            .Start(progress => work(new ProgressDisplay(
                progress.AddTask("loading").IsIndeterminate(), clock, line => console.Write(new Spectre.Console.Text(line + "\n")))));
    }

    /// <summary>Picture <paramref name="index"/> of <paramref name="count"/> begins.</summary>
    public void BeginPicture(int index, int count)
    {
        (pictureIndex, pictureCount) = (index, count);
        picture = count > 1 ? $"picture {index + 1}/{count}: " : "";
    }

    /// <summary>Prints a line above the bar.</summary>
    public void WriteLine(string line) => writeLine(line);

    /// <inheritdoc/>
    public void Report(GenerationProgress value)
    {
        if (task is null)
        {
            return;
        }

        task.Description = picture + value.Stage.ToString().ToLowerInvariant();
        if (value.Stage == GenerationStage.Sampling)
        {
            clock.Report(value.Step, value.StepCount, pictureIndex, pictureCount);
            task.IsIndeterminate = false;
            task.MaxValue = (double)value.StepCount * pictureCount;
            task.Value = (double)value.StepCount * pictureIndex + value.Step;
        }
    }

    /// <summary>The part behind the bar.</summary>
    private sealed class StepColumn(StepClock clock) : ProgressColumn
    {
        protected override bool NoWrap => true;

        public override IRenderable Render(RenderOptions options, ProgressTask task, TimeSpan deltaTime) => new Spectre.Console.Text(clock.Text);
    }

    /// <summary>Measures steps, not the text encoder and decoder between them.</summary>
    private sealed class StepClock
    {
        private long last;
        private TimeSpan inSteps;
        private int steps;

        /// <summary>Step, steps per second and time left; read by the drawing thread.</summary>
        public string Text { get; private set; } = "";

        public void Report(int step, int stepCount, int picture, int pictures)
        {
            if (step > 0 && last != 0)
            {
                inSteps += Stopwatch.GetElapsedTime(last);
                steps++;
            }

            // The time after a picture's last step belongs to the decoder.
            last = step == stepCount ? 0 : Stopwatch.GetTimestamp();
            var text = $"step {step}/{stepCount}";
            if (steps > 0)
            {
                var stepsLeft = ((pictures - picture) * (long)stepCount) - step;
                var secondsLeft = (long)Math.Ceiling(inSteps.TotalSeconds / steps * stepsLeft);
                text += $"  {steps / inSteps.TotalSeconds:0.00} steps/s  {secondsLeft / 60}:{secondsLeft % 60:00} left";
            }

            Text = text;
        }
    }
}
