using System.CommandLine;
using System.Diagnostics;
using StableDiffusion.Ilgpu.Imaging;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>
/// <c>sdilgpu txt2img</c> and <c>sdilgpu img2img</c>: make pictures from a prompt alone, or from a picture too. Names and defaults are
/// those of stable-diffusion.cpp.
/// </summary>
/// <param name="context">What the command talks to.</param>
/// <param name="pictures">The options that name a picture to begin with; null to begin with noise.</param>
internal sealed class DrawCommand(CommandContext context, PictureOptionSet? pictures)
{
    private readonly ModelOptionSet models = new(context);
    private readonly RequestOptionSet requests = new(pictures is null ? SharedOptions.ModelsOwn : "the picture's, rounded down");
    private readonly ModelAdditionSet additions = new();
    private readonly WatchOptionSet watching = new();
    private readonly Option<string> output = new("--output", "-o")
    {
        Description = "PNG file to write. %d or %03d becomes the picture's number, from 0; "
            + "without it several pictures are named output_0.png, output_1.png, …",
        HelpName = "file",
        DefaultValueFactory = _ => "output.png",
    };

    private readonly Option<string> device = SharedOptions.Device();
    private readonly Option<bool> offload = SharedOptions.Offload();
    private readonly Option<bool> verbose = SharedOptions.Verbose("Print where the time went, and the trace of an unexpected error");

    public static Command TextToImage(CommandContext context) =>
        new DrawCommand(context, null).ToCommand("txt2img", "Make pictures from a prompt.");

    public static Command ImageToImage(CommandContext context) =>
        new DrawCommand(context, new PictureOptionSet()).ToCommand("img2img", "Make pictures from a picture and a prompt.");

    private Command ToCommand(string name, string description)
    {
        var command = new Command(name, description)
        {
            output, device, offload, verbose,
        };
        pictures?.AddTo(command);
        requests.AddTo(command);
        models.AddTo(command);
        additions.AddTo(command);
        watching.AddTo(command);
        command.SetAction(Run);
        return command;
    }

    private void Run(ParseResult parsed)
    {
        // Everything that can be wrong is looked at before the long part begins.
        var repeated = requests.ReadRepeated(parsed);
        var request = requests.Read(parsed, repeated);
        request = pictures?.Apply(parsed, request, repeated) ?? request;
        request.Validate();
        var prompts = requests.ReadPrompts(parsed, request);
        var count = (int)Math.Min((long)prompts.Count * request.BatchCount, Array.MaxLength);
        var files = OutputNames.All(parsed.GetValue(output)!, count, context.Cancellation);
        PngWriter.CheckWritable(files, context.Cancellation);
        string[] inputs = [.. requests.FilesOf(parsed), .. pictures?.FilesOf(parsed) ?? []];
        (request, var watch) = watching.Read(parsed, request, additions.HasTaesd(parsed), files, inputs, context.Cancellation);
        PngWriter.CheckWritable(watch.Files, context.Cancellation);
        var target = parsed.GetValue(device)!;
        ComputeDevice.Find(target);
        var jobs = ReadJobs(parsed, request, prompts, files);
        List<string> times = [];
        try
        {
            ProgressDisplay.Run(context, display =>
            {
                // LoRAs are merged when a model is loaded: one loading for all prompts that name the same ones.
                foreach (var same in jobs.GroupBy(j => string.Join('\n', j.Model.Loras)))
                {
                    times.AddRange(Generate([.. same], count, target, watch, repeated, display, parsed.GetValue(verbose)));
                }
            });
        }
        catch (StableDiffusionException e) when (e.IsOutOfMemory)
        {
            throw new StableDiffusionException($"{e.Message}; {MemoryAdvice.For(request, parsed.GetValue(offload))}", e);
        }

        // Below the bar's place: a line that the terminal has to break would leave parts of the bar behind.
        foreach (var line in times.Where(_ => parsed.GetValue(verbose)))
        {
            context.WriteLine(line);
        }
    }

    private PromptJob[] ReadJobs(
        ParseResult parsed, GenerationRequest request, IReadOnlyList<(string? Line, string Prompt)> prompts, string[] files)
    {
        var (model, cache) = (models.Read(parsed) with { Offload = parsed.GetValue(offload) }, models.OpenCache(parsed));

        // What is wrong without any prompt is not said to be a line's fault.
        additions.Read(parsed, model, cache, request.NegativePrompt);
        return [.. prompts.Select((prompt, i) =>
        {
            var own = request with { Prompt = prompt.Prompt };
            try
            {
                var first = i * request.BatchCount;
                return new PromptJob(own, additions.Read(parsed, model, cache, own.Prompt, own.NegativePrompt), first, files[first..(first + request.BatchCount)]);
            }
            catch (StableDiffusionException e) when (prompt.Line is { } line)
            {
                throw new StableDiffusionException($"{line}: {e.Message}", e);
            }
        })];
    }

    /// <summary>Draws the pictures of some prompts with one model.</summary>
    /// <param name="jobs">Prompts that name the same LoRAs.</param>
    /// <param name="count">Number of all pictures.</param>
    /// <param name="target">Where to run, as the user says it.</param>
    /// <param name="watch">Gets previews and finished pictures.</param>
    /// <param name="repeated">The settings that the request repeats, if any.</param>
    /// <param name="display">Gets the progress and a line for each picture.</param>
    /// <param name="verbosely">Also say what LoRAs do.</param>
    /// <returns>Where the time went.</returns>
    private string[] Generate(
        PromptJob[] jobs, int count, string target, PictureWatch watch, RepeatedSettings? repeated, ProgressDisplay display, bool verbosely)
    {
        var start = SinceProcessStart();
        using var pipeline = StableDiffusionPipeline.Load(jobs[0].Model, ComputeDevice.Find(target), context.Cancellation);
        ModelAdditionSet.Print(pipeline.Loras, display.WriteLine, verbosely);
        RequestOptionSet.Print(repeated, jobs[0].Request, pipeline, display);

        // Each file is there soon after its picture is drawn, with the time since the one before.
        var begin = Stopwatch.GetTimestamp();
        var saving = TimeSpan.Zero;
        using var saver = new PictureSaver(context.Cancellation);
        try
        {
            foreach (var (request, _, first, files) in jobs)
            {
                var progress = watch.Over(display.Part(first, count), display, first);
                foreach (var (i, image) in pipeline.GenerateEach(request, progress, saver.Cancellation).Index())
                {
                    var drawn = Stopwatch.GetTimestamp();
                    saver.Add(image, files[i], () =>
                    {
                        display.WriteLine($"{files[i]}  seed {image.Seed}  {Seconds(Stopwatch.GetElapsedTime(begin))}");
                        begin = Stopwatch.GetTimestamp();
                    });
                    watch.Finish(first + i, image);
                    saving += Stopwatch.GetElapsedTime(drawn);
                }
            }
        }
        catch (OperationCanceledException) when (!context.Cancellation.IsCancellationRequested)
        {
            // The saver has something to tell.
        }

        var left = Stopwatch.GetTimestamp();
        saver.Finish();
        saving += Stopwatch.GetElapsedTime(left);
        var times = pipeline.Timings;
        return
        [
            $"model {pipeline.ModelName} on {pipeline.Device}"
                + (ComputeDevice.ReasonFor(target) is { } reason ? $", chosen by {target}: {reason}" : ""),
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
