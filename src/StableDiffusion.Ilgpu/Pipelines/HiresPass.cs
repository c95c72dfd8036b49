using StableDiffusion.Ilgpu.Imaging;
using StableDiffusion.Ilgpu.Sampling;

namespace StableDiffusion.Ilgpu;

/// <summary>The second pass of a request: what the first one drew, enlarged, and drawn again from a later noise level.</summary>
internal sealed class HiresPass
{
    /// <summary>A pass from noise alone takes the schedule's first step too.</summary>
    private const double MostStrength = 0.999;

    /// <summary>The metadata's key for the second pass' strength where a picture has one of its own.</summary>
    public const string DenoisingKey = "Hires denoising strength";

    private readonly GenerationRequest request;
    private readonly HiresOptions options;
    private readonly int channels;
    private readonly int scale;

    private HiresPass(GenerationRequest request, HiresOptions options, LoadedModel model, int rows, int columns)
    {
        (this.request, this.options) = (request, options);
        (channels, scale) = (model.VaeConfig.LatentChannels, model.VaeConfig.PixelsPerLatent);
        (Rows, Columns) = ((int)Math.Round(rows * options.Scale), (int)Math.Round(columns * options.Scale));
        GenerationRequest.CheckSize("width of the second pass", Columns * scale);
        GenerationRequest.CheckSize("height of the second pass", Rows * scale);
        if (options.Upscaler is HiresUpscaler.Lanczos or HiresUpscaler.Nearest)
        {
            ImageLibrary.Require("enlarge a picture");
            model.OpenEncoderWeights().Dispose();
        }

        Steps = options.Steps ?? request.Steps;
        Plan = MakePlan(model.Schedule);
    }

    /// <summary>Of the enlarged latent.</summary>
    public int Rows { get; }

    /// <summary>Of the enlarged latent.</summary>
    public int Columns { get; }

    /// <summary>The steps that it takes.</summary>
    public int Steps { get; }

    /// <summary>The last <see cref="Steps"/> of a schedule so long that they begin at the noise level asked for.</summary>
    public SamplingPlan Plan { get; }

    /// <summary>Null where the request asks for none.</summary>
    /// <exception cref="StableDiffusionException">The sampler cannot run so many steps, or pictures cannot be enlarged or encoded.</exception>
    public static HiresPass? Create(GenerationRequest request, LoadedModel model, int rows, int columns) =>
        request.Hires is { } options ? new HiresPass(request, options, model, rows, columns) : null;

    /// <summary>What a first run gave, in the larger size: the latents themselves, or through the autoencoder as pictures.</summary>
    /// <param name="first">The run.</param>
    /// <param name="latents">What it gave.</param>
    /// <param name="decoder">Makes pictures.</param>
    /// <param name="encoder">Makes latents of them.</param>
    /// <param name="cancellationToken">Stops between two launches.</param>
    public float[] Enlarge<T>(
        SamplingRun first, float[] latents, LatentDecoder<T> decoder, PictureEncoder<T> encoder, CancellationToken cancellationToken) where T : unmanaged
    {
        var (height, width) = (first.Height, first.Width);
        return options.Upscaler switch
        {
            HiresUpscaler.Latent => LatentResize.Bilinear(latents, height, width, Rows, Columns),
            HiresUpscaler.LatentNearest => LatentResize.Nearest(latents, height, width, Rows, Columns),
            _ => [.. latents.Chunk(latents.Length / first.Pictures).SelectMany(EnlargePicture)],
        };

        // The mean, so that no noise is drawn and a picture depends on its seed alone.
        float[] EnlargePicture(float[] latent)
        {
            var picture = new InputImage(width * scale, height * scale, decoder.Decode(latent, height, width, cancellationToken));
            var larger = PictureFit.Enlarge(picture, Columns * scale, Rows * scale, options.Upscaler == HiresUpscaler.Nearest);
            return encoder.Encode(larger, cancellationToken).Sample([]);
        }
    }

    /// <summary>The run that follows a first one; its noise is the seeds' own from their beginning, in the larger size.</summary>
    /// <param name="first">The run before.</param>
    /// <param name="larger">What it gave, in the larger size.</param>
    /// <param name="context">The prompts of its steps.</param>
    /// <param name="firstSeed">Seed of its first picture.</param>
    public SamplingRun Follow(SamplingRun first, float[] larger, StepContexts context, long firstSeed) => first with
    {
        Context = context,
        Height = Rows,
        Width = Columns,
        Plan = Plan,
        Start = larger,
        Draw = new BatchNoise(request.NoiseGenerator, firstSeed, first.Pictures, channels * Rows * Columns).Draw,
        Watch = first.Watch?.Follow(first.Plan.Steps.Count),
        AfterStep = step => first.AfterStep?.Invoke(first.Plan.Steps.Count + step),
    };

    private SamplingPlan MakePlan(NoiseSchedule schedule)
    {
        var all = (int)(Steps / Math.Min(options.DenoisingStrength, MostStrength));
        try
        {
            return request.Sampler.Plan(schedule, all, request.Scheduler, firstStep: all - Steps, eta: request.Eta);
        }
        catch (StableDiffusionException e)
        {
            throw new StableDiffusionException(
                $"{Steps} steps of the second pass at strength {NumberText.Of(options.DenoisingStrength)} are the last of {all}: {e.Message}", e);
        }
    }

    /// <summary>Keys and values of the metadata, as AUTOMATIC1111's web UI names them.</summary>
    public static IEnumerable<(string Key, string? Value)> Describe(GenerationRequest request)
    {
        var (options, culture) = (request.Hires, System.Globalization.CultureInfo.InvariantCulture);
        return
        [
            ("Hires upscale", options?.Scale.ToString(culture)),
            ("Hires steps", options?.Steps?.ToString(culture)),
            ("Hires upscaler", options is null ? null : NameOf(options.Upscaler)),

            // The web UI, which has no second pass after a picture, calls it "Denoising strength"; with a picture that is the first pass'.
            (DenoisingKey, request.InitImage is null ? null : options?.DenoisingStrength.ToString(culture)),
        ];
    }

    /// <summary>As the web UI's metadata call it.</summary>
    public static string NameOf(HiresUpscaler upscaler) =>
        upscaler == HiresUpscaler.LatentNearest ? "Latent (nearest)" : upscaler.ToString();
}
