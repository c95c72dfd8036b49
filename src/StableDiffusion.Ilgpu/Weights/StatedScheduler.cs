using System.Text.Json;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>What a file, or the folder that it lies in, says of the noise that its UNet was trained with; null where it says nothing.</summary>
/// <param name="Config">The whole configuration of diffusers' scheduler.</param>
/// <param name="Prediction">What the UNet predicts; also where the configuration says it.</param>
/// <param name="ZeroSnr">Whether the last training step has no signal; also where the configuration says it.</param>
internal sealed record StatedScheduler(JsonElement? Config, PredictionType? Prediction, bool? ZeroSnr)
{
    /// <summary>Stability AI's ModelSpec and ComfyUI call what the UNet predicts so; values "epsilon" and "v".</summary>
    public const string PredictionMetadata = "modelspec.prediction_type", PredictKeyMetadata = "modelspec.predict_key";

    /// <summary>diffusers' scheduler configuration as JSON; no other tool has a name for it.</summary>
    public const string ConfigMetadata = "sdilgpu.scheduler_config";

    /// <summary>Tensors whose being there is all that they say: v-prediction, and zero terminal signal-to-noise ratio.</summary>
    private const string PredictionMark = "v_pred", ZeroSnrMark = "ztsnr";

    private const string PredictionKey = "prediction_type", ZeroSnrKey = "rescale_betas_zero_snr";

    /// <summary>Many times what a configuration with betas of its own has; what a damaged file says must not decide how much is allocated.</summary>
    private const int LongestConfig = 1 << 18;

    public static StatedScheduler Nothing { get; } = new(null, null, null);

    /// <summary>Whether a tensor is there for its name alone.</summary>
    public static bool IsMark(string tensor) => tensor is PredictionMark or ZeroSnrMark;

    /// <summary>
    /// What a file itself says. Marks go before metadata, which tools copy from file to file, and what people read before the configuration.
    /// </summary>
    /// <exception cref="StableDiffusionException">The metadata hold a configuration that cannot be read.</exception>
    public static StatedScheduler Of(CheckpointFile file)
    {
        var description = $"{file.Path}: {ConfigMetadata}";
        var config = file.FindMetadata(ConfigMetadata) is not { } text ? (JsonElement?)null
            : text.Length <= LongestConfig ? JsonFile.ParseObject(text, description)
            : throw new StableDiffusionException($"{description}: has {text.Length} letters; valid: up to {LongestConfig}");
        var reader = config is { } json ? new ConfigReader(json, description) : null;
        return new StatedScheduler(
            config,
            file.HasTensor(PredictionMark) ? PredictionType.V
                : Find(file.FindMetadata(PredictionMetadata)) ?? Find(file.FindMetadata(PredictKeyMetadata))
                    ?? Find(reader?.Text(PredictionKey, "epsilon")),
            file.HasTensor(ZeroSnrMark) ? true : reader?.Flag(ZeroSnrKey, false));
    }

    /// <summary>What the scheduler's configuration in a folder says; the folder need not be complete.</summary>
    /// <exception cref="StableDiffusionException">The configuration cannot be read.</exception>
    public static StatedScheduler In(string folder)
    {
        var path = Path.Combine(folder, "scheduler", "scheduler_config.json");
        if (!File.Exists(path))
        {
            return Nothing;
        }

        var reader = new ConfigReader(JsonFile.Read(path), path);
        return new StatedScheduler(
            null, Find(reader.Text(PredictionKey, "")), reader.Has(ZeroSnrKey) ? reader.Flag(ZeroSnrKey, false) : null);
    }

    /// <summary>ModelSpec's word for what a scheduler's configuration says of the prediction.</summary>
    public static string WordFor(JsonElement config, string description) =>
        Find(new ConfigReader(config, description).Text(PredictionKey, "epsilon")) == PredictionType.V ? "v" : "epsilon";

    /// <summary>The same, with what another says where this says nothing.</summary>
    public StatedScheduler Or(StatedScheduler other) =>
        new(Config ?? other.Config, Prediction ?? other.Prediction, ZeroSnr ?? other.ZeroSnr);

    /// <summary>A scheduler's configuration with what is said here in the place of its own.</summary>
    public JsonElement Over(JsonElement config, string description)
    {
        var result = Config ?? config;
        var reader = new ConfigReader(result, description);
        if (Prediction is { } prediction && Find(reader.Text(PredictionKey, "epsilon")) != prediction)
        {
            result = JsonFile.With(result, PredictionKey, prediction == PredictionType.V ? "v_prediction" : "epsilon", description);
        }

        return ZeroSnr is { } zero && reader.Flag(ZeroSnrKey, false) != zero ? JsonFile.With(result, ZeroSnrKey, zero, description) : result;
    }

    /// <summary>Any other word says nothing that is known.</summary>
    private static PredictionType? Find(string? word) => word switch
    {
        "v" or "v_prediction" => PredictionType.V,
        "epsilon" => PredictionType.Epsilon,
        _ => null,
    };
}
