using StableDiffusion.Ilgpu.Sampling;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>Requests of any settings together, small enough that the bundled model draws them at once. The same number gives the same request.</summary>
internal static class RandomRequest
{
    private static readonly string[] Words =
    [
        "a red apple", "(cat:1.3)", "[dog]", "((heart))", "BREAK", "[red:green:0.5]", "[cow|horse]", "a penguin, blue", "naïve 日本", "(", "]", "a:b", @"\(x\)", "[a:b:3]",
        "[::0.2]", "(x:0)", "(y:-1)", "\n", string.Join(", ", Enumerable.Range(1, 60)),
    ];

    public static GenerationRequest Of(int number)
    {
        var random = new Random(number);
        var picture = Chance(0.4) ? Picture() : null;
        var mask = picture is not null && Chance(0.5) ? Picture() : null;
        var sampler = Pick([.. Samplers.All]);
        return new GenerationRequest
        {
            Prompt = Text(),
            NegativePrompt = Chance(0.5) ? Text() : "",
            Sampler = sampler,
            Scheduler = Chance(0.3) ? Pick(Enum.GetValues<Scheduler>()) : Scheduler.Discrete,
            Eta = sampler.DefaultEta is not null && Chance(0.5) ? Pick(0, 0.3, 1) : null,
            Width = picture is null || Chance(0.6) ? Side() : null,
            Height = picture is null || Chance(0.6) ? Side() : null,
            Steps = random.Next(2, 6),
            GuidanceScale = Pick(7, 1, 0, 2.5, -1),
            Seed = Pick(random.NextInt64(), random.Next(), 0),
            BatchCount = random.Next(1, 4),
            BatchSize = Pick<int?>(null, 1, 2),
            Circular = Chance(0.2),
            NoiseGenerator = Pick(Enum.GetValues<NoiseGenerator>()),
            VaeTiling = Chance(0.3),
            VaeTileWidth = random.Next(3, 9),
            VaeTileHeight = random.Next(3, 9),
            VaeTileOverlap = Pick(0.5, 0, 0.25),
            Hires = Chance(0.25) ? Larger() : null,
            ClipSkip = Pick<int?>(null, 1, 2),
            PromptWeighting = Pick(Enum.GetValues<PromptWeighting>()),
            InitImage = picture,
            Strength = Pick(0.75, 1, 0.5),
            ResizeMode = Pick(Enum.GetValues<ResizeMode>()),
            Mask = mask,
            MaskBlur = mask is null ? 0 : Pick(0, 4, 20),
            InvertMask = mask is not null && Chance(0.4),
            MeanLatent = Chance(0.3),
        };

        bool Chance(double probability) => random.NextDouble() < probability;

        T Pick<T>(params T[] choices) => choices[random.Next(choices.Length)];

        int Side() => 8 * random.Next(1, 11);

        string Text() => string.Join(Pick(" ", ", ", ""), Enumerable.Range(0, random.Next(4)).Select(_ => Pick(Words)));

        HiresOptions Larger() => new()
        {
            Scale = Pick(1, 1.3, 2),
            Upscaler = Pick(Enum.GetValues<HiresUpscaler>()),
            Steps = Pick<int?>(null, 1, 3),
            DenoisingStrength = Pick(0.7, 1, 0.1),
        };

        InputImage Picture()
        {
            var (width, height) = (random.Next(8, 100), random.Next(8, 100));
            var pixels = new byte[width * height * 3];
            random.NextBytes(pixels);
            return new InputImage(width, height, pixels);
        }
    }
}
