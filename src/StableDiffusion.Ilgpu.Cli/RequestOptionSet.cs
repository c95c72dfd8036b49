using System.CommandLine;
using StableDiffusion.Ilgpu.Sampling;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>The options of a request, by the names and with the defaults of stable-diffusion.cpp.</summary>
internal sealed class RequestOptionSet
{
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

    public void AddTo(Command command)
    {
        foreach (var option in new Option[]
        {
            prompt, negativePrompt, width, height, steps, guidanceScale, seed, batchCount, batchSize, sampler, scheduler, eta, noiseGenerator,
            circular,
        })
        {
            command.Add(option);
        }

        tiling.AddTo(command);
        hires.AddTo(command);
    }

    public GenerationRequest Read(ParseResult parsed)
    {
        var givenSeed = parsed.GetValue(seed)!.Value;
        return tiling.Apply(parsed, new GenerationRequest
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
            BatchSize = parsed.GetValue(batchSize),
            Circular = parsed.GetValue(circular),
            Hires = hires.Read(parsed),
            Sampler = Samplers.Find(parsed.GetValue(sampler)!),
            Scheduler = SchedulerNames.Find(parsed.GetValue(scheduler)!),
            Eta = parsed.GetValue(eta),
            NoiseGenerator = FindNoiseGenerator(parsed.GetValue(noiseGenerator)!),
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

    private static Option<T?> WithDefault<T>(T value, Option<T?> option) where T : struct
    {
        option.DefaultValueFactory = _ => value;
        return option;
    }
}
