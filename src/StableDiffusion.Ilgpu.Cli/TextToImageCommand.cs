using System.CommandLine;
using System.Diagnostics;
using StableDiffusion.Ilgpu.Imaging;
using StableDiffusion.Ilgpu.Sampling;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary><c>sdilgpu txt2img</c>: makes pictures from a prompt. Names and defaults are those of stable-diffusion.cpp.</summary>
internal sealed class TextToImageCommand(CommandContext context)
{
    private readonly ModelOptionSet models = new(context);
    private readonly Option<string> prompt = new("--prompt", "-p")
    {
        Description = "What the picture shows; may be empty",
        HelpName = "text",
        Required = true,
    };

    private readonly Option<string> negativePrompt = new("--negative-prompt", "-n")
    {
        Description = "What the picture should not show",
        HelpName = "text",
        DefaultValueFactory = _ => "",
    };

    private readonly Option<int?> width = SharedOptions.Width();
    private readonly Option<int?> height = SharedOptions.Height();
    private readonly Option<int?> steps = WithDefault(20, SharedOptions.Number<int>("--steps", "Sampling steps"));
    private readonly Option<double?> guidanceScale =
        WithDefault(7, SharedOptions.Number<double>("--cfg-scale", "Classifier-free guidance scale; 1 switches guidance off"));

    private readonly Option<long?> seed =
        WithDefault(42, SharedOptions.Number<long>("--seed", "Seed of the first picture, counting up in a batch; negative for a random one", "-s"));

    private readonly Option<int?> batchCount = WithDefault(1, SharedOptions.Number<int>("--batch-count", "Pictures to make", "-b"));
    private readonly Option<string> sampler = SharedOptions.Choice(
        "--sampling-method", $"Sampler: {string.Join(", ", Samplers.All.Select(s => s.Name))}", "euler_a", Samplers.Find);

    private readonly Option<string> scheduler = SharedOptions.Choice(
        "--scheduler", $"Spacing of the noise levels: {string.Join(", ", SchedulerNames.All.Select(s => s.Name))}", "discrete",
        name => SchedulerNames.Find(name));

    private readonly Option<string> noiseGenerator = SharedOptions.Choice(
        "--rng", $"Generator of the noise: {NoiseGeneratorNames}", "cuda", name => FindNoiseGenerator(name));

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
            prompt, negativePrompt, width, height, steps, guidanceScale, seed, batchCount, sampler, scheduler, noiseGenerator,
            output, device, verbose,
        };
        models.AddTo(command);
        additions.AddTo(command);
        command.SetAction(Run);
        return command;
    }

    private void Run(ParseResult parsed)
    {
        // Everything that can be wrong is looked at before the long part begins.
        var request = ReadRequest(parsed);
        request.Validate();
        string[] files = [.. Enumerable.Range(0, request.BatchCount)
            .Select(i => OutputNames.Of(parsed.GetValue(output)!, i, request.BatchCount))];
        foreach (var file in files)
        {
            PngWriter.CheckWritable(file);
        }

        var target = ComputeDevice.Find(parsed.GetValue(device)!);
        var model = additions.Read(parsed, models.Read(parsed), models.OpenCache(parsed), request);
        string[] times = [];
        ProgressDisplay.Run(context, display => times = Generate(request, files, model, target, display, parsed.GetValue(verbose)));

        // Below the bar's place: a line that the terminal has to break would leave parts of the bar behind.
        foreach (var line in times.Where(_ => parsed.GetValue(verbose)))
        {
            context.Output.WriteLine(line);
        }
    }

    private GenerationRequest ReadRequest(ParseResult parsed)
    {
        var givenSeed = parsed.GetValue(seed)!.Value;
        return new GenerationRequest
        {
            Prompt = parsed.GetValue(prompt)!,
            NegativePrompt = parsed.GetValue(negativePrompt)!,
            Width = parsed.GetValue(width),
            Height = parsed.GetValue(height),
            Steps = parsed.GetValue(steps)!.Value,
            GuidanceScale = parsed.GetValue(guidanceScale)!.Value,

            // Other tools' seeds have 32 bits.
            Seed = givenSeed >= 0 ? givenSeed : Random.Shared.NextInt64(1L << 32),
            BatchCount = parsed.GetValue(batchCount)!.Value,
            Sampler = Samplers.Find(parsed.GetValue(sampler)!),
            Scheduler = SchedulerNames.Find(parsed.GetValue(scheduler)!),
            NoiseGenerator = FindNoiseGenerator(parsed.GetValue(noiseGenerator)!),
        };
    }

    /// <returns>Where the time went.</returns>
    private string[] Generate(
        GenerationRequest request, string[] files, ModelOptions model, ComputeDevice target, ProgressDisplay display, bool verbosely)
    {
        var start = SinceProcessStart();
        var saving = TimeSpan.Zero;
        using var pipeline = StableDiffusionPipeline.Load(model, target, context.Cancellation);
        ModelAdditionSet.Print(pipeline.Loras, display, verbosely);

        // One request a picture, so that each file is there as soon as its picture is.
        for (var i = 0; i < files.Length; i++)
        {
            display.BeginPicture(i, files.Length);
            var begin = Stopwatch.GetTimestamp();
            var image = pipeline.Generate(request with { Seed = request.Seed + i, BatchCount = 1 }, display, context.Cancellation)[0];
            var drawn = Stopwatch.GetTimestamp();
            image.Save(files[i]);
            saving += Stopwatch.GetElapsedTime(drawn);
            display.WriteLine($"{files[i]}  seed {image.Seed}  {Seconds(Stopwatch.GetElapsedTime(begin))}");
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

    private static string NoiseGeneratorNames => string.Join(", ", Enum.GetNames<NoiseGenerator>().Select(n => n.ToLowerInvariant()));

    private static NoiseGenerator FindNoiseGenerator(string name)
    {
        foreach (var generator in Enum.GetValues<NoiseGenerator>())
        {
            if (string.Equals(generator.ToString(), name, StringComparison.OrdinalIgnoreCase))
            {
                return generator;
            }
        }

        throw new StableDiffusionException($"unknown rng \"{name}\": choose one of {NoiseGeneratorNames}");
    }

    private static TimeSpan SinceProcessStart()
    {
        using var process = Process.GetCurrentProcess();
        return DateTime.Now - process.StartTime;
    }

    private static string Seconds(TimeSpan time) => $"{time.TotalSeconds:0.00} s";

    private static Option<T?> WithDefault<T>(T value, Option<T?> option) where T : struct
    {
        option.DefaultValueFactory = _ => value;
        return option;
    }
}
