using System.Text.Json;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// A whole model in one file with the original names. It has no configurations: models of published sizes take the published ones, others
/// those of a folder that is named, or that the file lies in.
/// </summary>
internal sealed class SingleFile : IModelSource
{
    /// <summary>
    /// The one tensor whose spread differs between the published 2.x models of both predictions, and the spread between them: ComfyUI's
    /// finding.
    /// </summary>
    private const string TellingTensor = "up_blocks.3.attentions.2.transformer_blocks.0.norm1.bias";

    private const double TellingDeviation = 0.09;

    private readonly CheckpointFile file;
    private readonly Lazy<string> hash;
    private readonly DiffusersFolder? folder;
    private readonly ModelVariant? variant;
    private readonly StatedScheduler stated;

    private SingleFile(CheckpointFile file, DiffusersFolder? folder, ModelVariant? variant, StatedScheduler stated)
    {
        (this.file, this.folder, this.variant, this.stated) = (file, folder, variant, stated);
        hash = new(file.Sha256);
    }

    public string Description => file.Path;

    public string Name => file.Name;

    public string? Sha256 => hash.Value;

    public string Layout =>
        $"single file, original names{(file.HasOpenClipNames ? ", OpenCLIP's of the text encoder" : "")}; configurations "
        + (folder is not null ? $"of {folder.Description}" : $"published for {variant!.Title}");

    public IReadOnlyList<string> Ignored => [.. file.Ignored];

    public JsonElement SchedulerConfig => stated.Over(
        folder?.SchedulerConfig ?? JsonFile.ParseObject(variant!.Scheduler, SchedulerConfigDescription), SchedulerConfigDescription);

    public string SchedulerConfigDescription =>
        stated.Config is not null ? $"{file.Path}: {StatedScheduler.ConfigMetadata}"
        : folder?.SchedulerConfigDescription ?? $"{variant!.Title} scheduler";

    public TokenizerFiles? Tokenizer => folder is not null ? folder.Tokenizer : new TokenizerFiles(null, null, variant!.PadToken);

    /// <param name="path">The file.</param>
    /// <param name="options">
    /// The configurations' folder and the prediction, where they are given; parts that are given separately may be missing in the file.
    /// </param>
    /// <exception cref="StableDiffusionException">
    /// The file is damaged, no model, lacks a part, or has sizes without configurations.
    /// </exception>
    public static SingleFile Open(string path, ModelOptions options)
    {
        var file = CheckpointFile.Open(path);
        try
        {
            foreach (var part in Enum.GetValues<ModelPart>().Where(p => !file.Holds(p) && ComposedModel.FileOf(p, options) is null))
            {
                var name = DiffusersFolder.FolderOf(part);
                throw new StableDiffusionException($"{path}: holds no {name}; it can be given separately (--{name.Replace('_', '-')})");
            }

            var beside = Path.GetDirectoryName(Path.GetFullPath(path))!;
            var hasFolder = File.Exists(Path.Combine(beside, DiffusersFolder.IndexName));
            if (options.ConfigFolder is { } named)
            {
                return new SingleFile(file, DiffusersFolder.Open(named), null, StatedScheduler.Nothing);
            }

            var stated = StatedScheduler.Of(file).Or(hasFolder ? StatedScheduler.In(beside) : StatedScheduler.Nothing);
            return Recognise(file, options.Prediction ?? stated.Prediction) is { } variant ? new SingleFile(file, null, variant, stated)
                : hasFolder ? new SingleFile(file, DiffusersFolder.Open(beside), null, stated)
                : throw new StableDiffusionException(
                    $"{path}: its sizes are no published ones ({Unpublished(file)}), and a single file has no configurations; "
                    + "name a folder in diffusers' layout that has them (--config)");
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    public JsonElement Config(ModelPart part) => folder?.Config(part) ?? variant!.Config(part);

    public string ConfigDescription(ModelPart part) =>
        folder?.ConfigDescription(part) ?? $"{file.Path} as {variant!.Title}, {DiffusersFolder.FolderOf(part)}";

    public IWeightSource Open(ModelPart part, IReadOnlyList<TensorInfo> declared) => file.Weights(part, Config(part));

    public void Dispose() => file.Dispose();

    /// <param name="file">The file.</param>
    /// <param name="stated">What it is said to predict; where no model of its sizes that does is published, the first one of its sizes serves.</param>
    private static ModelVariant? Recognise(CheckpointFile file, PredictionType? stated)
    {
        var parts = Enum.GetValues<ModelPart>().Where(file.Holds).ToList();
        if (parts.Any(p => file.PublishedSizes(p) is null))
        {
            return null;
        }

        // Without a UNet in the file the text encoder tells 1.x from 2.x; the UNet comes with its own configuration.
        var text = file.Holds(ModelPart.TextEncoder) ? file.PublishedSizes(ModelPart.TextEncoder) : null;
        var variants = file.Holds(ModelPart.UNet)
            ? ModelVariant.OfUNet(file.Sizes(ModelPart.UNet))
            : [.. ModelVariant.All.Where(v => text is null || v.Sizes(ModelPart.TextEncoder) == text)];
        if (file.HasGenerativeModelsNames && stated != PredictionType.V && variants.FirstOrDefault(v => v.Id == "sd-turbo") is { } turbo)
        {
            return turbo;
        }

        var prediction = stated ?? (variants.Any(v => v.Prediction == PredictionType.V) ? Measure(file) : PredictionType.Epsilon);
        return variants.FirstOrDefault(v => v.Prediction == prediction) ?? (variants is [var first, ..] ? first : null);
    }

    /// <summary>
    /// What a 2.x model that does not say it predicts: one tensor's standard deviation tells the published models and most of their
    /// descendants.
    /// </summary>
    private static PredictionType Measure(CheckpointFile file)
    {
        if (!file.Holds(ModelPart.UNet))
        {
            return PredictionType.Epsilon;
        }

        using var unet = file.Weights(ModelPart.UNet, default);
        if (!unet.Tensors.TryGetValue(TellingTensor, out var tensor))
        {
            return PredictionType.Epsilon;
        }

        var values = new float[tensor.Count];
        unet.Read(TellingTensor, values);
        var mean = values.Average(v => (double)v);
        return Math.Sqrt(values.Average(v => Math.Pow(v - mean, 2))) > TellingDeviation ? PredictionType.V : PredictionType.Epsilon;
    }

    private static string Unpublished(CheckpointFile file) => string.Join(
        "; ", Enum.GetValues<ModelPart>().Where(p => file.Holds(p) && file.PublishedSizes(p) is null)
            .Select(p => $"{DiffusersFolder.FolderOf(p)}: {file.Sizes(p)}"));
}
