using System.Text.Json;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>A model with parts from files of their own, other configurations, another name or another prediction type. Owns the model.</summary>
internal sealed class ComposedModel : IModelSource
{
    private readonly IModelSource model;
    private readonly string? name;
    private readonly PredictionType? prediction;
    private readonly DiffusersFolder? configs;
    private readonly Dictionary<ModelPart, CheckpointFile> files = [];
    private readonly Lazy<string?> hash;

    private ComposedModel(IModelSource model, ModelOptions options)
    {
        (this.model, name, prediction) = (model, options.Name, options.Prediction);
        configs = options.ConfigFolder is { } folder ? DiffusersFolder.Open(folder) : null;
        hash = new(() => UNetFile is { } unet ? unet.Sha256() : model.Sha256);
    }

    public string Description => UNetFile?.Path ?? model.Description;

    /// <summary>A UNet of its own gives pictures their model's name and hash.</summary>
    public string Name => UNetFile?.Name ?? name ?? model.Name;

    public string? Sha256 => hash.Value;

    public string? VaeSha256 => files.GetValueOrDefault(ModelPart.Vae)?.Sha256();

    public string Layout => string.Join("; ", [model.Layout, .. files.Select(f => $"{DiffusersFolder.FolderOf(f.Key)} of {f.Value.Path}")]);

    public IReadOnlyList<string> Ignored => [.. model.Ignored, .. files.Values.SelectMany(f => f.Ignored)];

    public JsonElement SchedulerConfig
    {
        get
        {
            var stated = configs is null && UNetFile is { } unet ? StatedScheduler.Of(unet) : StatedScheduler.Nothing;
            return (stated with { Prediction = prediction ?? stated.Prediction })
                .Over((configs ?? model).SchedulerConfig, SchedulerConfigDescription);
        }
    }

    public string SchedulerConfigDescription => (configs ?? model).SchedulerConfigDescription;

    public TokenizerFiles? Tokenizer => (configs ?? model).Tokenizer;

    private CheckpointFile? UNetFile => files.GetValueOrDefault(ModelPart.UNet);

    /// <summary>The model as the options want it; it is disposed where they cannot be followed.</summary>
    /// <exception cref="StableDiffusionException">
    /// A file or folder of the options is missing or damaged, or holds something else.
    /// </exception>
    public static IModelSource Of(IModelSource model, ModelOptions options)
    {
        ComposedModel? composed = null;
        try
        {
            composed = new ComposedModel(model, options);
            foreach (var part in Enum.GetValues<ModelPart>())
            {
                if (FileOf(part, options) is { } path)
                {
                    composed.files[part] = CheckpointFile.Open(path, part);
                }
            }

            return composed;
        }
        catch
        {
            (composed ?? model).Dispose();
            throw;
        }
    }

    /// <summary>The file that the options give for a part, or null.</summary>
    public static string? FileOf(ModelPart part, ModelOptions options) => part switch
    {
        ModelPart.TextEncoder => options.TextEncoder,
        ModelPart.UNet => options.UNet,
        _ => options.Vae,
    };

    public JsonElement Config(ModelPart part) => configs?.Config(part) ?? Published(part) ?? model.Config(part);

    public string ConfigDescription(ModelPart part) =>
        configs is not null ? configs.ConfigDescription(part)
        : Published(part) is null ? model.ConfigDescription(part)
        : $"{files[part].Path}, published configuration";

    public IWeightSource Open(ModelPart part, IReadOnlyList<TensorInfo> declared) =>
        files.TryGetValue(part, out var file) ? file.Weights(part, Config(part)) : model.Open(part, declared);

    public void Dispose()
    {
        foreach (var file in files.Values)
        {
            file.Dispose();
        }

        model.Dispose();
    }

    private JsonElement? Published(ModelPart part) =>
        files.TryGetValue(part, out var file) && file.PublishedSizes(part) is { } sizes ? ModelVariant.PublishedConfig(part, sizes) : null;
}
