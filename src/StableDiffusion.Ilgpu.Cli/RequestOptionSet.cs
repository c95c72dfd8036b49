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
            prompt, promptFile, negativePrompt, width, height, steps, guidanceScale, seed, batchCount, batchSize, sampler, scheduler, eta,
            noiseGenerator, clipSkip, promptWeighting, circular,
        })
        {
            command.Add(option);
        }

        tiling.AddTo(command);
        hires.AddTo(command);
        command.Validators.Add(result =>
        {
            if (result.GetResult(prompt) is null == result.GetResult(promptFile) is null)
            {
                result.AddError(result.GetResult(prompt) is null
                    ? "Option '--prompt' is required (or '--prompt-file')"
                    : "Options '--prompt' and '--prompt-file' exclude each other");
            }
        });
    }

    /// <summary>The prompts, with what messages call the line of a file that they come from; null for the request's own.</summary>
    /// <exception cref="StableDiffusionException">The file of prompts cannot be used.</exception>
    public IReadOnlyList<(string? Line, string Prompt)> ReadPrompts(ParseResult parsed, GenerationRequest request) => parsed.GetValue(promptFile) is { } path
        ? [.. PromptFile.Read(path).Select(p => (PromptFile.At(path, p.Line), p.Prompt))]
        : [(null, request.Prompt)];

    /// <summary>The request; of several prompts only the settings.</summary>
    public GenerationRequest Read(ParseResult parsed)
    {
        var givenSeed = parsed.GetValue(seed)!.Value;
        return tiling.Apply(parsed, new GenerationRequest
        {
            Prompt = parsed.GetValue(prompt) ?? "",
            NegativePrompt = parsed.GetValue(negativePrompt)!,
            Width = parsed.GetValue(width),
            Height = parsed.GetValue(height),
            Steps = parsed.GetValue(steps)!.Value,
            GuidanceScale = parsed.GetValue(guidanceScale)!.Value,

            // Other tools' seeds have 32 bits.
            Seed = givenSeed >= 0 ? givenSeed : Random.Shared.NextInt64(1L << 32),
            BatchCount = parsed.GetValue(batchCount)!.Value,
            BatchSize = parsed.GetValue(batchSize),
            Circular = parsed.GetValue(circular),
            Hires = hires.Read(parsed),
            Sampler = Samplers.Find(parsed.GetValue(sampler)!),
            Scheduler = SchedulerNames.Find(parsed.GetValue(scheduler)!),
            Eta = parsed.GetValue(eta),
            NoiseGenerator = FindNoiseGenerator(parsed.GetValue(noiseGenerator)!),
            ClipSkip = parsed.GetValue(clipSkip) is > 0 and var layer ? layer : null,
            PromptWeighting = FindPromptWeighting(parsed.GetValue(promptWeighting)!),
        });
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
