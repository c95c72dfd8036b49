using StableDiffusion.Ilgpu.Imaging;
using StableDiffusion.Ilgpu.Sampling;

namespace StableDiffusion.Ilgpu;

/// <summary>The second pass of a request: the first one's latents enlarged, and drawn again from a later noise level.</summary>
internal sealed class HiresPass
{
    private readonly GenerationRequest request;
    private readonly HiresOptions options;
    private readonly int channels;

    private HiresPass(GenerationRequest request, HiresOptions options, LoadedModel model, int rows, int columns)
    {
        (this.request, this.options, channels) = (request, options, model.VaeConfig.LatentChannels);
        (Rows, Columns) = ((int)Math.Round(rows * options.Scale), (int)Math.Round(columns * options.Scale));
        var steps = options.Steps ?? request.Steps;
        var taken = Math.Clamp((int)(steps * options.DenoisingStrength), 1, steps);
        Plan = request.Sampler.Plan(model.Schedule, steps, request.Scheduler, firstStep: steps - taken, eta: request.Eta);
    }

    /// <summary>Of the enlarged latent.</summary>
    public int Rows { get; }

    /// <summary>Of the enlarged latent.</summary>
    public int Columns { get; }

    /// <summary>The steps from the later noise level on.</summary>
    public SamplingPlan Plan { get; }

    /// <summary>Null where the request asks for none.</summary>
    /// <exception cref="StableDiffusionException">The sampler cannot run so many steps.</exception>
    public static HiresPass? Create(GenerationRequest request, LoadedModel model, int rows, int columns) =>
        request.Hires is { } options ? new HiresPass(request, options, model, rows, columns) : null;

    /// <summary>The run that follows a first one; its noise is the seeds' own from their beginning, in the larger size.</summary>
    /// <param name="first">The run before.</param>
    /// <param name="latents">What it gave.</param>
    /// <param name="firstSeed">Seed of its first picture.</param>
    public SamplingRun Follow(SamplingRun first, float[] latents, long firstSeed) => first with
    {
        Height = Rows,
        Width = Columns,
        Plan = Plan,
        Start = Enlarge(latents, first.Height, first.Width),
        Draw = new BatchNoise(request.NoiseGenerator, firstSeed, first.Pictures, channels * Rows * Columns).Draw,
        Watch = first.Watch?.Follow(first.Plan.Steps.Count),
        AfterStep = step => first.AfterStep?.Invoke(first.Plan.Steps.Count + step),
    };

    /// <summary>Keys and values of the metadata, as AUTOMATIC1111's web UI names them.</summary>
    public static IEnumerable<(string Key, string? Value)> Describe(HiresOptions? options)
    {
        var culture = System.Globalization.CultureInfo.InvariantCulture;
        return
        [
            ("Hires upscale", options?.Scale.ToString(culture)),
            ("Hires steps", options?.Steps?.ToString(culture)),
            ("Hires upscaler", options is null ? null : NameOf(options.Upscaler)),
        ];
    }

    /// <summary>As the web UI's metadata call it.</summary>
    public static string NameOf(HiresUpscaler upscaler) => upscaler == HiresUpscaler.LatentNearest ? "Latent (nearest)" : "Latent";

    private float[] Enlarge(float[] latents, int height, int width) => options.Upscaler == HiresUpscaler.LatentNearest
        ? LatentResize.Nearest(latents, height, width, Rows, Columns)
        : LatentResize.Bilinear(latents, height, width, Rows, Columns);
}
