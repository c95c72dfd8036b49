using System.Globalization;
using StableDiffusion.Ilgpu.Sampling;

namespace StableDiffusion.Ilgpu;

/// <summary>What to draw and how. Unset sizes take those of <see cref="InitImage"/> or, without one, the model's own native size.</summary>
public sealed record GenerationRequest
{
    private const int MostMaskBlur = 256;

    /// <summary>Of width and height: positions in pictures with three values a pixel still count in 32 bits.</summary>
    private const int MostPixels = 16384;

    /// <summary>What the picture shows; may be empty.</summary>
    public required string Prompt { get; init; }

    /// <summary>What the picture should not show.</summary>
    public string NegativePrompt { get; init; } = "";

    /// <summary>Width in pixels, a multiple of 8, up to 16384.</summary>
    public int? Width { get; init; }

    /// <summary>Height in pixels, a multiple of 8, up to 16384.</summary>
    public int? Height { get; init; }

    /// <summary>Number of sampling steps, from 1 to one less than the model's training steps (999); for LCM and TCD up to 50.</summary>
    public int Steps { get; init; } = 20;

    /// <summary>Classifier-free guidance scale; at 1 only the prompt is evaluated.</summary>
    public double GuidanceScale { get; init; } = 7;

    /// <summary>Seed of the first picture; picture i of a batch has seed + i. A negative one is a seed too; only the command's option takes it for a random one.</summary>
    public long Seed { get; init; } = 42;

    /// <summary>How many pictures to make.</summary>
    public int BatchCount { get; init; } = 1;

    /// <summary>
    /// Most pictures that are drawn together, in one call of the UNet for each step, up to 1024; null for the device's own measure, at most as many as
    /// it has memory for: on a GPU the pixels of 16 pictures of 512x512, on the processor up to 8 small ones. Pictures do not depend on it.
    /// </summary>
    public int? BatchSize { get; init; }

    /// <summary>Makes pictures that join at opposite edges, by convolutions that wrap around.</summary>
    public bool Circular { get; init; }

    /// <summary>The sampler, one of <see cref="Samplers.All"/>.</summary>
    public Sampler Sampler { get; init; } = Samplers.EulerAncestral;

    /// <summary>The spacing of the noise levels.</summary>
    public Scheduler Scheduler { get; init; } = Scheduler.Discrete;

    /// <summary>
    /// The sampler's share of fresh noise, 0 to 1; null for the sampler's own (<see cref="Sampler.DefaultEta"/>). Samplers without one refuse it.
    /// </summary>
    public double? Eta { get; init; }

    /// <summary>Which generator turns the seed into noise.</summary>
    public NoiseGenerator NoiseGenerator { get; init; } = NoiseGenerator.Cuda;

    /// <summary>
    /// Decodes, and encodes pictures, in tiles that are blended: less memory, slightly different colours. Done anyway where the whole picture
    /// would take more memory than the device has left.
    /// </summary>
    public bool VaeTiling { get; init; }

    /// <summary>Width of a tile in pixels of the latent.</summary>
    public int VaeTileWidth { get; init; } = 32;

    /// <summary>Height of a tile in pixels of the latent.</summary>
    public int VaeTileHeight { get; init; } = 32;

    /// <summary>The share of a tile, 0 to 0.5, that neighbours overlap at least.</summary>
    public double VaeTileOverlap { get; init; } = 0.5;

    /// <summary>A second pass in a larger size; null for none.</summary>
    public HiresOptions? Hires { get; init; }

    /// <summary>
    /// Which of the text encoder's layers is read, counting from the model's own last one, which is 1; null for that.
    /// </summary>
    public int? ClipSkip { get; init; }

    /// <summary>What brackets and weights in the prompts mean.</summary>
    public PromptWeighting PromptWeighting { get; init; } = PromptWeighting.A1111;

    /// <summary>
    /// Every how many steps progress brings <see cref="GenerationProgress.Previews"/>; 0 for never. Not after the last step, which the
    /// picture itself follows. Previews do not change the picture.
    /// </summary>
    public int PreviewInterval { get; init; }

    /// <summary>
    /// Every how many steps progress brings <see cref="GenerationProgress.NoisyPreviews"/>, from before the first one on; 0 for never.
    /// </summary>
    public int NoisyPreviewInterval { get; init; }

    /// <summary>How previews are made from latents.</summary>
    public PreviewMethod PreviewMethod { get; init; }

    /// <summary>The picture to begin with; null to begin with noise.</summary>
    public InputImage? InitImage { get; init; }

    /// <summary>
    /// How much of <see cref="InitImage"/> is drawn anew, 0 to 1: the last <c>(int)(Steps * Strength)</c> steps run.
    /// </summary>
    public double Strength { get; init; } = 0.75;

    /// <summary>How <see cref="InitImage"/> and <see cref="Mask"/> are brought to the size that is drawn.</summary>
    public ResizeMode ResizeMode { get; init; } = ResizeMode.Crop;

    /// <summary>
    /// White where <see cref="InitImage"/> is to be painted anew; black parts keep their pixels, grey ones are mixed. Null for the whole
    /// picture.
    /// </summary>
    public InputImage? Mask { get; init; }

    /// <summary>Standard deviation in pixels by which the mask is blurred, 0 to 256.</summary>
    public int MaskBlur { get; init; }

    /// <summary>Paints the black parts of <see cref="Mask"/> anew instead of the white ones.</summary>
    public bool InvertMask { get; init; }

    /// <summary>Begins with the mean of the autoencoder's distribution over latents instead of a sample of it.</summary>
    public bool MeanLatent { get; init; }

    /// <summary>The first of <see cref="Steps"/> that runs; the ones before it are skipped because of <see cref="Strength"/>.</summary>
    internal int FirstStep => InitImage is null ? 0 : PictureStart.FirstStep(Steps, Strength);

    /// <summary>
    /// The size to draw where there is an <see cref="InitImage"/>: what is not given is its own, rounded down to a multiple of 8.
    /// </summary>
    internal (int Width, int Height) InitSize()
    {
        static int Rounded(int side) => Math.Max(8, side / 8 * 8);
        return (Width ?? Rounded(InitImage!.Width), Height ?? Rounded(InitImage!.Height));
    }

    /// <summary>Checks what can be checked without a model.</summary>
    /// <exception cref="StableDiffusionException">A value cannot be used.</exception>
    internal void Validate()
    {
        CheckGiven("prompt", Prompt);
        CheckGiven("negative prompt", NegativePrompt);
        CheckGiven("sampler", Sampler);
        CheckSize("width", Width);
        CheckSize("height", Height);
        CheckAtLeastOne("steps", Steps);
        CheckAtLeastOne("batch count", BatchCount);
        CheckAtLeastOne("batch size", BatchSize ?? 1);
        if (Seed > long.MaxValue - BatchCount + 1)
        {
            throw new StableDiffusionException($"seed {Seed} cannot be used for {BatchCount} pictures, each of which has the next one; valid: up to {long.MaxValue - BatchCount + 1}");
        }

        CheckAtLeastOne("VAE tile width", VaeTileWidth);
        CheckAtLeastOne("VAE tile height", VaeTileHeight);
        if (!(VaeTileOverlap >= 0 && VaeTileOverlap <= 0.5))
        {
            throw new StableDiffusionException($"VAE tile overlap {NumberText.Of(VaeTileOverlap)} cannot be used; valid: 0 to 0.5");
        }

        CheckDefined("scheduler", Scheduler);
        CheckDefined("noise generator", NoiseGenerator);
        CheckDefined("prompt weighting", PromptWeighting);
        CheckDefined("preview method", PreviewMethod);
        Hires?.Validate();
        CheckAtLeastOne("clip skip", ClipSkip ?? 1);
        CheckAtLeastZero("preview interval", PreviewInterval);
        CheckAtLeastZero("noisy preview interval", NoisyPreviewInterval);
        if (!float.IsFinite((float)GuidanceScale))
        {
            throw new StableDiffusionException($"guidance scale {NumberText.Of(GuidanceScale)} is not a finite number of single precision");
        }

        CheckPictures();
        Sampler.CheckScheduler(Scheduler);
        Sampler.CheckEta(Eta);
    }

    private void CheckPictures()
    {
        if (!(Strength >= 0 && Strength <= 1))
        {
            throw new StableDiffusionException($"strength {NumberText.Of(Strength)} cannot be used; valid: 0 to 1");
        }

        if (FirstStep == Steps)
        {
            throw new StableDiffusionException(
                $"strength {NumberText.Of(Strength)} of {Steps} steps leaves none to run; strength times steps must be at least 1");
        }

        if (!Enum.IsDefined(ResizeMode))
        {
            throw new StableDiffusionException(
                $"unknown resize mode {NumberText.Of((int)ResizeMode)}; valid: {string.Join(", ", Enum.GetNames<ResizeMode>())}".ToLowerInvariant());
        }

        if (MaskBlur is < 0 or > MostMaskBlur)
        {
            throw new StableDiffusionException($"mask blur {NumberText.Of(MaskBlur)} cannot be used; valid: 0 to {MostMaskBlur}");
        }

        if (InitImage is not null && InitSize() is var (width, height) && Math.Max(width, height) > MostPixels)
        {
            throw new StableDiffusionException(
                $"a picture to begin with of {InitImage.Width}x{InitImage.Height} pixels cannot be drawn in its own size; valid: up to {MostPixels} a side");
        }

        if (InitImage is null && Mask is not null)
        {
            throw new StableDiffusionException("a mask needs a picture that it belongs to");
        }

        if (Mask is null && (InvertMask || MaskBlur > 0))
        {
            throw new StableDiffusionException($"{(InvertMask ? "inverting" : "blurring")} the mask needs a mask");
        }
    }

    /// <summary>Refuses null, which programs that do not look for it can give.</summary>
    private static void CheckGiven(string name, object? value)
    {
        if (value is null)
        {
            throw new StableDiffusionException($"the {name} is null");
        }
    }

    /// <summary>Refuses a size that no model can draw; null stands for the model's own.</summary>
    internal static void CheckSize(string name, int? pixels)
    {
        if (pixels is { } size && (size < 8 || size % 8 != 0 || size > MostPixels))
        {
            throw new StableDiffusionException($"{name} {NumberText.Of(pixels)} cannot be used; valid: multiples of 8, from 8 to {MostPixels}");
        }
    }

    /// <summary>Refuses numbers that an enumeration has no name for, as a cast can make them.</summary>
    internal static void CheckDefined<T>(string name, T value) where T : struct, Enum
    {
        if (!Enum.IsDefined(value))
        {
            var number = NumberText.Of(Convert.ToInt64(value, CultureInfo.InvariantCulture));
            throw new StableDiffusionException($"unknown {name} {number}; valid: {string.Join(", ", Enum.GetNames<T>())}");
        }
    }

    private static void CheckAtLeastZero(string name, int value)
    {
        if (value < 0)
        {
            throw new StableDiffusionException($"{name} {NumberText.Of(value)} cannot be used; valid: 0 or more");
        }
    }

    private static void CheckAtLeastOne(string name, int value)
    {
        if (value < 1)
        {
            throw new StableDiffusionException($"{name} {NumberText.Of(value)} cannot be used; valid: 1 or more");
        }
    }
}

/// <summary>How a preview is made from a latent.</summary>
public enum PreviewMethod
{
    /// <summary>
    /// Colours as a linear function of the latent, in next to no time, for Stable Diffusion's autoencoder; others decode themselves, as with
    /// <see cref="Autoencoder"/>.
    /// </summary>
    Linear,

    /// <summary>TAESD, from the file that <see cref="ModelOptions.PreviewTaesd"/> or <see cref="ModelOptions.Taesd"/> names.</summary>
    TinyAutoencoder,

    /// <summary>The decoder that makes the finished picture.</summary>
    Autoencoder,
}

/// <summary>The generators whose noise other tools give for a seed.</summary>
public enum NoiseGenerator
{
    /// <summary>Philox 4x32-10, as PyTorch draws on a CUDA device.</summary>
    Cuda,

    /// <summary>Mersenne twister, as PyTorch draws on the CPU.</summary>
    Cpu,
}
