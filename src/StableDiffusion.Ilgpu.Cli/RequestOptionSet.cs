using System.CommandLine;
using StableDiffusion.Ilgpu.Sampling;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>The options of a request, by the names and with the defaults of stable-diffusion.cpp.</summary>
/// <param name="size">What the help calls the size of a picture where none is given.</param>
internal sealed class RequestOptionSet(string size)
{
    private readonly Option<string?> prompt = new("--prompt", "-p")
    {
        Description = "What the picture shows; may be empty. (word:1.3), [a:b:0.5], BREAK: see docs/prompts.md",
        HelpName = "text",
    };

    private readonly Option<string?> from = new("--from")
    {
        Description = "Picture whose settings are repeated, of this tool, AUTOMATIC1111's web UI, ComfyUI or stable-diffusion.cpp; "
            + "other options given win, the model stays that of -m",
        HelpName = "image",
    };

    private readonly Option<string?> promptFile = new("--prompt-file")
    {
        Description = "Instead of a prompt: a text file of prompts, one a line, each drawn with all other options",
        HelpName = "file",
    };

    private readonly Option<string> negativePrompt = new("--negative-prompt", "-n")
    {
        Description = "What the picture should not show",
        HelpName = "text",
        DefaultValueFactory = _ => "",
    };

    private readonly Option<int?> width = SharedOptions.Width(size);
    private readonly Option<int?> height = SharedOptions.Height(size);
    private readonly Option<int?> steps = WithDefault(20, SharedOptions.Number<int>("--steps", "Sampling steps"));
    private readonly Option<double?> guidanceScale =
        WithDefault(7, SharedOptions.Number<double>("--cfg-scale", "Classifier-free guidance scale; 1 switches guidance off"));

    private readonly Option<long?> seed =
        WithDefault(42, SharedOptions.Number<long>("--seed", "Seed of the first picture, counting up in a batch; negative for a random one", "-s"));

    private readonly Option<int?> batchCount = WithDefault(1, SharedOptions.Number<int>("--batch-count", "Pictures to make", "-b"));
    private readonly Option<int?> batchSize = SharedOptions.Number<int>(
        "--batch-size",
        "Most pictures drawn together [default: what memory allows; on the processor up to 8 small ones, one from 512x512 on]");

    private readonly Option<bool> circular = new("--circular") { Description = "Make pictures that join at opposite edges" };

    private readonly TilingOptionSet tiling = new();
    private readonly HiresOptionSet hires = new();

    private readonly Option<string> sampler = SharedOptions.Choice(
        "--sampling-method", $"Sampler: {string.Join(", ", Samplers.All.Select(s => s.Name))}", "euler_a", Samplers.Find);

    private readonly Option<string> scheduler = SharedOptions.Choice(
        "--scheduler", $"Spacing of the noise levels: {string.Join(", ", SchedulerNames.All.Select(SchedulerNames.NameOf))}", "discrete",
        name => SchedulerNames.Find(name));

    private readonly Option<double?> eta =
        SharedOptions.Number<double>("--eta", "Share of fresh noise, 0 to 1, for samplers that have one; without it the sampler's own");

    private readonly Option<string> noiseGenerator = SharedOptions.Choice(
        "--rng", $"Generator of the noise: {NoiseGeneratorNames}", "cuda", name => FindNoiseGenerator(name));

    private readonly Option<int?> clipSkip = WithDefault(
        -1, SharedOptions.Number<int>("--clip-skip", "Layer of the text encoder that is read, from its last one, 1; -1 for the model's own"));

    private readonly Option<string> promptWeighting = SharedOptions.Choice(
        "--prompt-weighting",
        "Weights in prompts: a1111 (keeps each chunk's mean), plain (multiplies only), none (prompts are literal text)", "a1111",
        name => FindPromptWeighting(name));

    public void AddTo(Command command)
    {
        foreach (var option in new Option[]
        {
            prompt, promptFile, from, negativePrompt, width, height, steps, guidanceScale, seed, batchCount, batchSize, sampler, scheduler, eta,
            noiseGenerator, clipSkip, promptWeighting, circular,
        })
        {
            command.Add(option);
        }

        tiling.AddTo(command);
        hires.AddTo(command, from);
        command.Validators.Add(result =>
        {
            var (hasPrompt, hasFile) = (result.GetResult(prompt) is not null, result.GetResult(promptFile) is not null);
            if (hasPrompt && hasFile)
            {
                result.AddError("Options '--prompt' and '--prompt-file' exclude each other");
            }
            else if (!hasPrompt && !hasFile && result.GetResult(from) is null)
            {
                result.AddError("Option '--prompt' is required (or '--prompt-file', or '--from')");
            }
        });
    }

    /// <summary>The pictures that are read.</summary>
    public IEnumerable<string> FilesOf(ParseResult parsed) => new[] { parsed.GetValue(from) }.OfType<string>();

    /// <summary>The settings of the picture that <c>--from</c> names; null without it.</summary>
    /// <exception cref="StableDiffusionException">It cannot be read or has none.</exception>
    public RepeatedSettings? ReadRepeated(ParseResult parsed) => parsed.GetValue(from) is { } path ? RepeatedSettings.Read(path) : null;

    /// <summary>Says what of a picture's settings was not repeated.</summary>
    public static void Print(RepeatedSettings? repeated, GenerationRequest request, StableDiffusionPipeline pipeline, ProgressDisplay display)
    {
        if (repeated?.CompareModel(pipeline.ModelName, pipeline.ModelHash) is { } line)
        {
            display.WriteLine(line);
        }

        if (repeated?.NotRepeated(request.InitImage is not null, request.Mask is not null, pipeline.Additions).ToList() is { Count: > 0 } keys)
        {
            display.WriteLine($"not repeated: {string.Join(", ", keys)}");
        }
    }

    /// <summary>The prompts, with what messages call the line of a file that they come from; null for the request's own.</summary>
    /// <exception cref="StableDiffusionException">The file of prompts cannot be used.</exception>
    public IReadOnlyList<(string? Line, string Prompt)> ReadPrompts(ParseResult parsed, GenerationRequest request) => parsed.GetValue(promptFile) is { } path
        ? [.. PromptFile.Read(path).Select(p => (PromptFile.At(path, p.Line), p.Prompt))]
        : [(null, request.Prompt)];

    /// <summary>
    /// The request; of several prompts only the settings. Options that are not given take a picture's settings, or their defaults where it has
    /// none.
    /// </summary>
    /// <exception cref="StableDiffusionException">A setting of the picture that no option replaces has no meaning here.</exception>
    public GenerationRequest Read(ParseResult parsed, RepeatedSettings? repeated = null)
    {
        var givenSeed = Pick(seed, r => r.Seed)!.Value;
        var chosenSampler = Setting(sampler, r => r.Sampler) ?? Samplers.Find(parsed.GetValue(sampler)!);
        var namedScheduler = SchedulerNames.Find(parsed.GetValue(scheduler)!);
        return tiling.Apply(parsed, new GenerationRequest
        {
            Prompt = Pick(prompt, r => r.Prompt) ?? "",
            NegativePrompt = Pick(negativePrompt, r => r.NegativePrompt)!,
            Width = Pick(width, r => r.Width),
            Height = Pick(height, r => r.Height),
            Steps = Pick(steps, r => r.Steps)!.Value,
            GuidanceScale = Pick(guidanceScale, r => r.GuidanceScale)!.Value,

            // Other tools' seeds have 32 bits. A picture's negative seed is the one that it was drawn with.
            Seed = givenSeed >= 0 || !parsed.IsGiven(seed) ? givenSeed : Random.Shared.NextInt64(1L << 32),
            BatchCount = parsed.GetValue(batchCount)!.Value,
            BatchSize = parsed.GetValue(batchSize),
            Circular = Setting(circular, r => (bool?)r.IsCircular) ?? parsed.GetValue(circular),
            Hires = hires.Read(parsed, repeated?.Hires),
            Sampler = chosenSampler,
            Scheduler = Setting(scheduler, r => r.ScheduleFor(chosenSampler))
                ?? (namedScheduler == Scheduler.Normal ? chosenSampler.NormalScheduler : namedScheduler),

            // It belongs to the sampler.
            Eta = parsed.GetValue(eta) ?? Setting(sampler, r => r.Eta),
            NoiseGenerator = Setting(noiseGenerator, r => r.NoiseGenerator) ?? FindNoiseGenerator(parsed.GetValue(noiseGenerator)!),
            ClipSkip = Pick(clipSkip, r => r.ClipSkip) is > 0 and var layer ? layer : null,
            PromptWeighting = Setting(promptWeighting, r => r.PromptWeighting) ?? FindPromptWeighting(parsed.GetValue(promptWeighting)!),
        });

        T? Pick<T>(Option<T> option, Func<RepeatedSettings, T?> setting) => Setting(option, setting) ?? parsed.GetValue(option);

        // What an option sets is not even looked at in the picture.
        T? Setting<T>(Option option, Func<RepeatedSettings, T?> setting) =>
            repeated is null || parsed.IsGiven(option) ? default : setting(repeated);
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

    private static string PromptWeightingNames => string.Join(", ", Enum.GetNames<PromptWeighting>().Reverse()).ToLowerInvariant();

    private static PromptWeighting FindPromptWeighting(string name) =>
        Enum.GetNames<PromptWeighting>().Any(n => string.Equals(n, name, StringComparison.OrdinalIgnoreCase))
            ? Enum.Parse<PromptWeighting>(name, ignoreCase: true)
            : throw new StableDiffusionException($"unknown prompt weighting \"{name}\": choose one of {PromptWeightingNames}");

    private static Option<T?> WithDefault<T>(T value, Option<T?> option) where T : struct
    {
        option.DefaultValueFactory = _ => value;
        return option;
    }
}
