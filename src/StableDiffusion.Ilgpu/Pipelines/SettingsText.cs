using StableDiffusion.Ilgpu.Imaging;
using StableDiffusion.Ilgpu.Sampling;

namespace StableDiffusion.Ilgpu;

/// <summary>The parameters text of a picture, in AUTOMATIC1111's keys and order: what <see cref="RepeatedSettings"/> reads again.</summary>
internal static class SettingsText
{
    /// <summary>Keys of the LoRAs' and the textual inversions' names and hashes.</summary>
    public const string LoraKey = "Lora hashes", EmbeddingKey = "TI hashes";

    /// <summary>Keys of an autoencoder in place of the model's own, and of what decodes instead of it.</summary>
    public const string VaeKey = "VAE", VaeHashKey = "VAE hash", DecoderKey = "VAE Decoder", EncoderKey = "VAE Encoder";

    /// <summary>The value of <see cref="DecoderKey"/> and <see cref="EncoderKey"/> where it is a TAESD.</summary>
    public const string Taesd = "TAESD";

    /// <param name="request">What was drawn.</param>
    /// <param name="model">With which model.</param>
    /// <param name="width">Of the first pass, in pixels.</param>
    /// <param name="height">Of the first pass, in pixels.</param>
    /// <param name="seed">The picture's own.</param>
    public static string Of(GenerationRequest request, LoadedModel model, int width, int height, long seed) => InfoText.Format(
        request.Prompt, request.NegativePrompt,
        [
            ("Steps", NumberText.Of(request.Steps)),
            ("Sampler", request.Sampler.DisplayName),

            // Always: where it is missing, the web UI takes a schedule of the sampler's own.
            ("Schedule type", SchedulerNames.DisplayNameOf(request.Scheduler)),
            ("CFG scale", NumberText.Of(request.GuidanceScale)),
            ("Seed", NumberText.Of(seed)),
            ("Size", $"{width}x{height}"),
            ("Model hash", model.ShortHash),
            ("Model", model.Name),
            .. Vae(request, model.Additions),
            (request.Sampler.EtaKey, request.Eta is { } eta && eta != request.Sampler.DefaultEta ? NumberText.Of(eta) : null),
            ("Denoising strength", request.InitImage is null && request.Hires is { } hires ? NumberText.Of(hires.DenoisingStrength) : null),
            .. PictureSettingsText.Of(request),
            ("Clip skip", request.ClipSkip > 1 ? NumberText.Of(request.ClipSkip.Value) : null),
            ("RNG", request.NoiseGenerator == NoiseGenerator.Cpu ? "CPU" : null),
            ("Emphasis", PromptConditioning.NameOf(request.PromptWeighting)),
            ("Tiling", request.Circular ? "True" : null),
            .. HiresPass.Describe(request),
            (LoraKey, Hashes(model.Loras.DistinctBy(l => l.Reference.Name).Select(l => (l.Reference.Name, l.ShortHash.Value)))),
            (EmbeddingKey, Hashes(model.EmbeddingsIn(request.Prompt, request.NegativePrompt).Select(e => (e.Name, e.ShortHash.Value)))),
            ("Version", $"sdilgpu {typeof(StableDiffusionPipeline).Assembly.GetName().Version?.ToString(3)}"),
        ]);

    /// <summary>Without what separates names and hashes.</summary>
    public static string ListedName(string name) => name.Replace(":", "", StringComparison.Ordinal).Replace(",", "", StringComparison.Ordinal);

    /// <summary>A TAESD leaves nothing for another autoencoder to do.</summary>
    private static (string Key, string? Value)[] Vae(GenerationRequest request, ModelAdditions additions) => additions switch
    {
        { HasTaesd: true } => [(DecoderKey, Taesd), (EncoderKey, request.InitImage is null ? null : Taesd)],
        { Vae: { } vae } => [(VaeHashKey, vae.ShortHash.Value), (VaeKey, vae.Name)],
        _ => [],
    };

    /// <summary>As the web UI lists them; null where there are none.</summary>
    private static string? Hashes(IEnumerable<(string Name, string Hash)> files) =>
        string.Join(", ", files.Select(f => $"{ListedName(f.Name)}: {f.Hash}")) is { Length: > 0 } list ? list : null;
}
