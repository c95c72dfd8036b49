using System.Globalization;
using StableDiffusion.Ilgpu.Imaging;
using StableDiffusion.Ilgpu.Sampling;

namespace StableDiffusion.Ilgpu;

/// <summary>The parameters text of a picture, in AUTOMATIC1111's keys and order: what <see cref="RepeatedSettings"/> reads again.</summary>
internal static class SettingsText
{
    /// <summary>The key of the LoRAs' names and hashes.</summary>
    public const string LoraKey = "Lora hashes";

    /// <param name="request">What was drawn.</param>
    /// <param name="model">With which model.</param>
    /// <param name="width">Of the first pass, in pixels.</param>
    /// <param name="height">Of the first pass, in pixels.</param>
    /// <param name="seed">The picture's own.</param>
    public static string Of(GenerationRequest request, LoadedModel model, int width, int height, long seed) => InfoText.Format(
        request.Prompt, request.NegativePrompt,
        [
            ("Steps", Number(request.Steps)),
            ("Sampler", request.Sampler.DisplayName),

            // Always: where it is missing, the web UI takes a schedule of the sampler's own.
            ("Schedule type", SchedulerNames.DisplayNameOf(request.Scheduler)),
            ("CFG scale", Number(request.GuidanceScale)),
            ("Seed", Number(seed)),
            ("Size", $"{width}x{height}"),
            ("Model hash", model.ShortHash),
            ("Model", model.Name),
            (request.Sampler.EtaKey, request.Eta is { } eta && eta != request.Sampler.DefaultEta ? Number(eta) : null),
            ("Denoising strength", request.InitImage is null && request.Hires is { } hires ? Number(hires.DenoisingStrength) : null),
            .. PictureSettingsText.Of(request),
            ("Clip skip", request.ClipSkip > 1 ? Number(request.ClipSkip.Value) : null),
            ("RNG", request.NoiseGenerator == NoiseGenerator.Cpu ? "CPU" : null),
            ("Emphasis", PromptConditioning.NameOf(request.PromptWeighting)),
            ("Tiling", request.Circular ? "True" : null),
            .. HiresPass.Describe(request),
            (LoraKey, LoraHashes(model)),
            ("Version", $"sdilgpu {typeof(StableDiffusionPipeline).Assembly.GetName().Version?.ToString(3)}"),
        ]);

    /// <summary>Without what separates names and hashes.</summary>
    public static string LoraName(string name) => name.Replace(":", "", StringComparison.Ordinal).Replace(",", "", StringComparison.Ordinal);

    /// <summary>As the web UI writes them; null without LoRAs.</summary>
    private static string? LoraHashes(LoadedModel model) => model.Loras.Count == 0 ? null : string.Join(
        ", ", model.Loras.DistinctBy(l => l.Reference.Name).Select(l => $"{LoraName(l.Reference.Name)}: {l.ShortHash.Value}"));

    private static string Number(IFormattable value) => value.ToString(null, CultureInfo.InvariantCulture);
}
