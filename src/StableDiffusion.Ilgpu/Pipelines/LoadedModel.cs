using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Models;
using StableDiffusion.Ilgpu.Sampling;
using StableDiffusion.Ilgpu.Text;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu;

/// <summary>A model as read and checked, without a device: configurations, tokenizer, schedule, and access to its weights.</summary>
internal sealed class LoadedModel : IDisposable
{
    private readonly IModelSource source;
    private readonly Lazy<ClipTokenizer> tokenizer;

    private LoadedModel(IModelSource source)
    {
        this.source = source;
        TextConfig = ClipTextConfig.Parse(source.Config(ModelPart.TextEncoder), source.ConfigDescription(ModelPart.TextEncoder));
        UNetConfig = UNetConfig.Parse(source.Config(ModelPart.UNet), source.ConfigDescription(ModelPart.UNet));
        VaeConfig = AutoencoderKlConfig.Parse(source.Config(ModelPart.Vae), source.ConfigDescription(ModelPart.Vae));
        Schedule = NoiseSchedule.Parse(source.SchedulerConfig, source.SchedulerConfigDescription);
        tokenizer = new(OpenTokenizer);
        CheckThatPartsFit();
    }

    public string Name => source.Name;

    public string? ShortHash => source.ShortHash;

    public ClipTextConfig TextConfig { get; }

    public UNetConfig UNetConfig { get; }

    public AutoencoderKlConfig VaeConfig { get; }

    public NoiseSchedule Schedule { get; }

    /// <summary>The folder of the bundled model, beside the program.</summary>
    public static string Bundled => Path.Combine(AppContext.BaseDirectory, "weights", "demo");

    /// <summary>Whether the UNet also takes a mask and a masked picture.</summary>
    public bool IsInpainting => UNetConfig.InChannels != VaeConfig.LatentChannels;

    public static LoadedModel Open(string? model) => Open(new ModelOptions { Model = model });

    public static LoadedModel Open(ModelOptions options)
    {
        var source = ModelSource.Open(options.Model ?? Bundled, options);
        try
        {
            return new LoadedModel(source);
        }
        catch
        {
            source.Dispose();
            throw;
        }
    }

    /// <summary>Token ids of a prompt: start, at most tokens - 2 ids, end, padding.</summary>
    public int[] Tokenize(string prompt)
    {
        var table = tokenizer.Value;
        var padding = source.Tokenizer?.PadToken is { } text
            ? table.Find(text) ?? throw new StableDiffusionException($"{source.Description}: the padding token '{text}' is not in the tokenizer's vocabulary")
            : table.EndOfText;
        return table.Encode(prompt, TextConfig.Tokens, padding);
    }

    public Graph RecordText(int prompts) => ClipText.Record(TextConfig, prompts);

    public Graph RecordUNet(int items, int height, int width) => UNet.Record(UNetConfig, items, height, width, TextConfig.Tokens);

    public Graph RecordDecoder(int height, int width) => AutoencoderKl.RecordDecoder(VaeConfig, 1, height, width);

    /// <summary>Opens a component's weights, checked against what its graph declares. The caller disposes the result.</summary>
    public IWeightSource OpenWeights(ModelPart part)
    {
        TensorInfo[] declared = [.. Declare(part).Weights.Select(w => new TensorInfo(w.Name, TensorType.F16, w.Shape))];
        var weights = source.Open(part, declared);
        try
        {
            WeightCheck.Require(weights, declared, name => part switch
            {
                ModelPart.TextEncoder => name == WeightCheck.PositionIds,
                ModelPart.Vae => AutoencoderKl.IsEncoderWeight(name),
                _ => false,
            });
            return weights;
        }
        catch
        {
            weights.Dispose();
            throw;
        }
    }

    /// <summary>The model for people to read; of the weight files' tensors only the headers are looked at.</summary>
    public ModelInfo Describe() => new(
        Name, ModelVariant.TitleOf(source.Config(ModelPart.UNet), source.SchedulerConfig, source.ConfigDescription(ModelPart.UNet)),
        source.Layout, source.Sha256, [.. Enum.GetValues<ModelPart>().Select(Describe)], source.Ignored);

    /// <summary>Writes the model to a file or folder: everything that is stored, not only what the graphs use.</summary>
    public void Save(string output, TensorType? type, CancellationToken cancellationToken) =>
        ModelWriter.Write(source, OpenWeights, output, type, cancellationToken);

    public void Dispose() => source.Dispose();

    /// <summary>Every id that the tokenizer can give must have a row in the text encoder's table.</summary>
    private ClipTokenizer OpenTokenizer()
    {
        var opened = source.Tokenizer is { VocabularyPath: { } vocabulary, MergesPath: { } merges }
            ? ClipTokenizer.Load(vocabulary, merges)
            : ClipTokenizer.BuiltIn;
        return opened.VocabularySize <= TextConfig.Vocabulary ? opened
            : throw new StableDiffusionException(
                $"{source.Description}: the tokenizer has {opened.VocabularySize} tokens, the text encoder takes {TextConfig.Vocabulary}");
    }

    /// <summary>The weights do not depend on the size that a graph is recorded for.</summary>
    private Graph Declare(ModelPart part) => part switch
    {
        ModelPart.TextEncoder => RecordText(1),
        ModelPart.UNet => RecordUNet(1, UNetConfig.SampleSize, UNetConfig.SampleSize),
        _ => RecordDecoder(1, 1),
    };

    private ComponentInfo Describe(ModelPart part)
    {
        using var weights = OpenWeights(part);
        var summary = part switch
        {
            ModelPart.TextEncoder => $"{TextConfig.Layers} layers of {TextConfig.Hidden}, {TextConfig.Heads} heads, {TextConfig.Tokens} tokens, vocabulary {TextConfig.Vocabulary}",
            ModelPart.UNet => $"channels {string.Join(", ", UNetConfig.Channels)}, heads {string.Join(", ", UNetConfig.Heads)}, context {UNetConfig.CrossAttention}, "
                + $"latent {UNetConfig.SampleSize}x{UNetConfig.SampleSize}x{UNetConfig.InChannels}",
            _ => $"channels {string.Join(", ", VaeConfig.Channels)}, latent {VaeConfig.LatentChannels}, {VaeConfig.PixelsPerLatent} pixels per latent",
        };
        var (folder, type) = (DiffusersFolder.FolderOf(part), DiffusersFolder.ClassOf(part).Class);
        var tensors = weights.Tensors.Values.Where(t => FloatConversion.IsFloat(t.Type)).ToList();
        return new ComponentInfo(
            folder, type, summary, tensors.Count, tensors.Sum(t => t.Count),
            string.Join(", ", tensors.Select(t => t.Type).Distinct().Order()));
    }

    private void CheckThatPartsFit()
    {
        if (UNetConfig.CrossAttention != TextConfig.Hidden)
        {
            throw new StableDiffusionException(
                $"{source.Description}: the UNet reads text of width {UNetConfig.CrossAttention}, the text encoder gives {TextConfig.Hidden}");
        }

        // An inpainting UNet takes latents, a mask and the masked picture's latents.
        var latent = VaeConfig.LatentChannels;
        if ((UNetConfig.InChannels != latent && UNetConfig.InChannels != (2 * latent) + 1) || UNetConfig.OutChannels != latent)
        {
            throw new StableDiffusionException(
                $"{source.Description}: the UNet takes {UNetConfig.InChannels} and gives {UNetConfig.OutChannels} channels, the autoencoder's latents have "
                + $"{latent}; the UNet must give as many, and take as many or {(2 * latent) + 1} (inpainting)");
        }
    }
}
