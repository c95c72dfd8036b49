using System.Text.Json;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>A published model: what a file without configurations is recognised as, and what can be synthesised.</summary>
/// <param name="Id">Its short name.</param>
/// <param name="Title">Its name for people.</param>
/// <param name="Prediction">What its UNet predicts.</param>
/// <param name="TextEncoder">The text encoder's configuration (JSON).</param>
/// <param name="UNet">The UNet's.</param>
/// <param name="Scheduler">The scheduler's.</param>
/// <param name="PadToken">The text of the token that fills prompts up; null for the end-of-text token.</param>
internal sealed record ModelVariant(
    string Id, string Title, PredictionType Prediction, string TextEncoder, string UNet, string Scheduler, string? PadToken)
{
    private const string Epsilon = "epsilon";

    /// <summary>Where several have the same sizes, the first one of a prediction type is taken for them.</summary>
    public static IReadOnlyList<ModelVariant> All { get; } =
    [
        Of1("sd15", "Stable Diffusion 1.x", 4),
        Of1("sd15-inpaint", "Stable Diffusion 1.x inpainting", 9),
        Of2("sd21-base", "Stable Diffusion 2.x base", PredictionType.Epsilon, 4, 64, PublishedConfigs.Scheduler(Epsilon)),
        Of2("sd21", "Stable Diffusion 2.x 768", PredictionType.V, 4, 96, PublishedConfigs.Scheduler("v_prediction")),
        Of2("sd-turbo", "SD-Turbo", PredictionType.Epsilon, 4, 64, PublishedConfigs.TurboScheduler),
        Of2("sd21-inpaint", "Stable Diffusion 2.x inpainting", PredictionType.Epsilon, 9, 64, PublishedConfigs.Scheduler(Epsilon)),
    ];

    /// <summary>The variant with this short name, or null.</summary>
    public static ModelVariant? Find(string id) => All.FirstOrDefault(v => v.Id == id);

    /// <summary>The variants of a UNet's sizes, as <see cref="PartSizes"/> words them.</summary>
    public static IReadOnlyList<ModelVariant> OfUNet(string sizes) => [.. All.Where(v => v.Sizes(ModelPart.UNet) == sizes)];

    /// <summary>The configuration that a component of these sizes was published with, or null.</summary>
    public static JsonElement? PublishedConfig(ModelPart part, string sizes) =>
        All.FirstOrDefault(v => v.Sizes(part) == sizes)?.Config(part);

    /// <summary>Names a model by its configurations.</summary>
    /// <param name="unet">The UNet's configuration.</param>
    /// <param name="scheduler">The scheduler's.</param>
    /// <param name="description">What messages call the UNet's configuration.</param>
    public static string TitleOf(JsonElement unet, JsonElement scheduler, string description)
    {
        var prediction = Text(scheduler, "prediction_type") == "v_prediction" ? PredictionType.V : PredictionType.Epsilon;
        var sizes = OfUNet(PartSizes.Of(ModelPart.UNet, unet, description));
        var same = sizes.Where(v => v.Prediction == prediction).ToList();
        var turbo = Text(scheduler, "timestep_spacing") == "trailing";
        var found = same.FirstOrDefault(v => (v.Id == "sd-turbo") == turbo) ?? same.FirstOrDefault() ?? (sizes is [var first, ..] ? first : null);
        var inpainting = new ConfigReader(unet, description).Int("in_channels", 4) == 9 ? ", inpainting" : "";
        return $"{found?.Title ?? $"own sizes{inpainting}"} ({(prediction == PredictionType.V ? "v" : "ε")}-prediction)";

        static string? Text(JsonElement json, string key) =>
            json.TryGetProperty(key, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;
    }

    public JsonElement Config(ModelPart part) => JsonFile.ParseObject(
        part switch { ModelPart.TextEncoder => TextEncoder, ModelPart.UNet => UNet, _ => PublishedConfigs.Vae }, Title);

    public string Sizes(ModelPart part) => PartSizes.Of(part, Config(part), Title);

    private static ModelVariant Of1(string id, string title, int inChannels) => new(
        id, title, PredictionType.Epsilon, PublishedConfigs.Clip, PublishedConfigs.UNet1(inChannels),
        PublishedConfigs.Scheduler(Epsilon), null);

    private static ModelVariant Of2(
        string id, string title, PredictionType prediction, int inChannels, int sampleSize, string scheduler) => new(
        id, title, prediction, PublishedConfigs.OpenClip, PublishedConfigs.UNet2(inChannels, sampleSize), scheduler, "!");
}
