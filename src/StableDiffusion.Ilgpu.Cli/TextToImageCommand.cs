using System.CommandLine;
using System.Diagnostics;
using StableDiffusion.Ilgpu.Imaging;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary><c>sdilgpu txt2img</c>: makes pictures from a prompt. Names and defaults are those of stable-diffusion.cpp.</summary>
internal sealed class TextToImageCommand(CommandContext context)
{
    private readonly ModelOptionSet models = new(context);
    private readonly RequestOptionSet requests = new();
    private readonly ModelAdditionSet additions = new();
    private readonly Option<string> output = new("--output", "-o")
    {
        Description = "PNG file to write. %d or %03d becomes the picture's number, from 0; "
            + "without it several pictures are named output_0.png, output_1.png, …",
        HelpName = "file",
        DefaultValueFactory = _ => "output.png",
    };

    private readonly Option<string> device = SharedOptions.Device();
    private readonly Option<bool> verbose = SharedOptions.Verbose("Print where the time went, and the trace of an unexpected error");

    public static Command Create(CommandContext context) => new TextToImageCommand(context).ToCommand();

    private Command ToCommand()
    {
        var command = new Command("txt2img", "Make pictures from a prompt.")
        {
            output, device, verbose,
        };
        requests.AddTo(command);
        models.AddTo(command);
        additions.AddTo(command);
        command.SetAction(Run);
        return command;
    }

    private void Run(ParseResult parsed)
    {
        // Everything that can be wrong is looked at before the long part begins.
        var request = requests.Read(parsed);
        request.Validate();
        string[] files = [.. Enumerable.Range(0, request.BatchCount)
            .Select(i => OutputNames.Of(parsed.GetValue(output)!, i, request.BatchCount))];
        foreach (var file in files)
        {
            PngWriter.CheckWritable(file);
        }

        var target = ComputeDevice.Find(parsed.GetValue(device)!);
        var model = additions.Read(parsed, models.Read(parsed), models.OpenCache(parsed), request.Prompt, request.NegativePrompt);
        string[] times = [];
        ProgressDisplay.Run(context, display => times = Generate(request, files, model, target, display, parsed.GetValue(verbose)));

        // Below the bar's place: a line that the terminal has to break would leave parts of the bar behind.
        foreach (var line in times.Where(_ => parsed.GetValue(verbose)))
        {
            context.Output.WriteLine(line);
        }
    }

    /// <returns>Where the time went.</returns>
    private string[] Generate(
        GenerationRequest request, string[] files, ModelOptions model, ComputeDevice target, ProgressDisplay display, bool verbosely)
    {
        var start = SinceProcessStart();
        var saving = TimeSpan.Zero;
        using var pipeline = StableDiffusionPipeline.Load(model, target, context.Cancellation);
        ModelAdditionSet.Print(pipeline.Loras, display, verbosely);

        // Each file is there as soon as its picture is, with the time since the one before.
        var begin = Stopwatch.GetTimestamp();
        foreach (var (file, image) in files.Zip(pipeline.GenerateEach(request, display, context.Cancellation)))
        {
            var drawn = Stopwatch.GetTimestamp();
            image.Save(file);
            saving += Stopwatch.GetElapsedTime(drawn);
            display.WriteLine($"{file}  seed {image.Seed}  {Seconds(Stopwatch.GetElapsedTime(begin))}");
            begin = Stopwatch.GetTimestamp();
        }

        var times = pipeline.Timings;
        return
        [
            $"model {pipeline.ModelName} on {pipeline.Device}",
            $"start {Seconds(start)}, load {Seconds(times.Load)} (JIT beside it {Seconds(times.KernelCompile)}), "
                + $"text {Seconds(times.Text)}, steps {Seconds(times.Sampling)}, decode {Seconds(times.Decode)}, "
                + $"save {Seconds(saving)}; total since the process began {Seconds(SinceProcessStart())}",
        ];
    }

    private static TimeSpan SinceProcessStart()
    {
        using var process = Process.GetCurrentProcess();
        return DateTime.Now - process.StartTime;
    }

    private static string Seconds(TimeSpan time) => $"{time.TotalSeconds:0.00} s";
}
