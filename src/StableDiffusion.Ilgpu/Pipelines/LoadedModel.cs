using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Models;
using StableDiffusion.Ilgpu.Sampling;
using StableDiffusion.Ilgpu.Text;
using StableDiffusion.Ilgpu.Weights;
using StableDiffusion.Ilgpu.Weights.Lora;

namespace StableDiffusion.Ilgpu;

/// <summary>A model as read and checked, without a device: configurations, tokenizer, schedule, and access to its weights.</summary>
internal sealed class LoadedModel : IDisposable
{
    /// <summary>How messages go on about an encoder that is not there.</summary>
    public const string NeedForEncoder = "pictures as input and the upscalers lanczos and nearest need";

    private readonly IModelSource source;
    private readonly Lazy<ClipTokenizer> tokenizer;
    private readonly Lazy<PromptChunks> chunks;
    private readonly ClipTextConfig storedTextConfig;
    private readonly LearnedTokens learned;
    private readonly LoraSet loras;
    private readonly NamedFile? vae;
    private readonly TinyAutoencoderPart? taesd;

    private LoadedModel(IModelSource source, ModelOptions options)
    {
        this.source = source;
        storedTextConfig = ClipTextConfig.Parse(source.Config(ModelPart.TextEncoder), source.ConfigDescription(ModelPart.TextEncoder));
        UNetConfig = UNetConfig.Parse(source.Config(ModelPart.UNet), source.ConfigDescription(ModelPart.UNet));
        VaeConfig = AutoencoderKlConfig.Parse(source.Config(ModelPart.Vae), source.ConfigDescription(ModelPart.Vae));
        Schedule = NoiseSchedule.Parse(source.SchedulerConfig, source.SchedulerConfigDescription);
        tokenizer = new(OpenTokenizer);
        chunks = new(OpenChunks);
        learned = new LearnedTokens(options.Embeddings, storedTextConfig);
        TextConfig = storedTextConfig with { Vocabulary = storedTextConfig.Vocabulary + learned.Count };
        CheckThatPartsFit();
        vae = options.Vae is { } path ? new NamedFile(Path.GetFileName(path), new(() => source.VaeSha256![..FileHash.ModelDigits])) : null;
        taesd = options.Taesd is { } file ? TinyAutoencoderPart.Open(file, VaeConfig) : null;
        PreviewTaesd = options.PreviewTaesd is { } small ? TinyAutoencoderPart.Open(small, VaeConfig) : null;
        loras = LoraSet.Open([.. options.Loras.Select(LoraReference.Parse)], new[] { ModelPart.TextEncoder, ModelPart.UNet }.Select(part => (part, Declare(part))));
    }

    public string Name => source.Name;

    public string? ShortHash => source.ShortHash;

    /// <summary>The text encoder, with the rows of learned tokens in its vocabulary.</summary>
    public ClipTextConfig TextConfig { get; }

    public UNetConfig UNetConfig { get; }

    public AutoencoderKlConfig VaeConfig { get; }

    public NoiseSchedule Schedule { get; }

    /// <summary>Width and height in pixels that the model was trained for.</summary>
    public int NativeSize => UNetConfig.SampleSize * VaeConfig.PixelsPerLatent;

    /// <summary>What the UNet's latents are divided by before they are decoded.</summary>
    public double LatentScale => taesd is null ? VaeConfig.ScalingFactor : 1;

    /// <summary>A TAESD that only previews are decoded with.</summary>
    public TinyAutoencoderPart? PreviewTaesd { get; }

    /// <summary>Whether a TAESD takes the place of the autoencoder.</summary>
    public bool IsTaesdDecoder => taesd is not null;

    /// <summary>What became of the LoRA files.</summary>
    public IReadOnlyList<LoraReport> Loras => loras.Reports;

    /// <summary>What there is beside the model's own files.</summary>
    public ModelAdditions Additions => new()
    {
        Loras = [.. Loras.SelectMany(l => l.Names)],
        Embeddings = [.. learned.Embeddings.Select(e => e.Name)],
        Vae = vae,
        HasTaesd = IsTaesdDecoder,
    };

    /// <summary>The textual inversions that prompts use.</summary>
    public IEnumerable<NamedFile> EmbeddingsIn(params IEnumerable<string> prompts) =>
        learned.EmbeddingsIn(string.Join('\n', prompts.Select(WithoutLoras)), tokenizer.Value);

    /// <summary>The folder of the bundled model, beside the program.</summary>
    public static string Bundled => Path.Combine(AppContext.BaseDirectory, "weights", "demo");

    /// <summary>The bundled model's folder, which packages that refer to the library's package do not pass on.</summary>
    /// <exception cref="StableDiffusionException">It is not there.</exception>
    public static string RequireBundled(string folder) => Directory.Exists(folder) ? folder : throw new StableDiffusionException(
        $"the bundled model is not there ({folder}); it comes with projects that refer to the package StableDiffusion.Ilgpu themselves: "
        + "refer to it, or name another model");

    /// <summary>Whether the UNet also takes a mask and a masked picture.</summary>
    public bool IsInpainting => UNetConfig.InChannels != VaeConfig.LatentChannels;

    public static LoadedModel Open(string? model) => Open(new ModelOptions { Model = model });

    public static LoadedModel Open(ModelOptions options)
    {
        options.Validate();
        var source = ModelSource.Open(options.Model ?? RequireBundled(Bundled), options);
        try
        {
            return new LoadedModel(source, options);
        }
        catch
        {
            source.Dispose();
            throw;
        }
    }

    /// <summary>Splits prompts for the text encoder.</summary>
    public PromptChunks Chunks => chunks.Value;

    /// <summary>Token ids of a prompt without the LoRAs that it names: start, at most tokens - 2 ids, end, padding.</summary>
    /// <exception cref="StableDiffusionException">The prompt names a LoRA that the model was not loaded with.</exception>
    public int[] Tokenize(string prompt) => tokenizer.Value.Encode(WithoutLoras(prompt), TextConfig.Tokens, Padding);

    /// <summary>The prompt without the LoRAs that it names.</summary>
    /// <exception cref="StableDiffusionException">The prompt names a LoRA that the model was not loaded with.</exception>
    public string WithoutLoras(string prompt)
    {
        var parsed = PromptLoras.Parse(prompt);
        foreach (var (name, scale) in parsed.Loras)
        {
            if (!Loras.Any(l => l.Names.Contains(name) && l.Reference.Scale == scale))
            {
                throw new StableDiffusionException($"the prompt names the LoRA '{name}' at {scale}, which the model was not loaded with");
            }
        }

        return parsed.Text;
    }

    /// <summary>Rows and columns of the latent that a request's first pass draws.</summary>
    public (int Rows, int Columns) LatentSize(GenerationRequest request)
    {
        var (width, height) = request.InitImage is null ? (request.Width ?? NativeSize, request.Height ?? NativeSize) : request.InitSize();
        return (height / VaeConfig.PixelsPerLatent, width / VaeConfig.PixelsPerLatent);
    }

    /// <param name="prompts">Number of prompts.</param>
    /// <param name="clipSkip">Which layer's states are given, from the last one, which is 1.</param>
    /// <exception cref="StableDiffusionException">There is no such layer.</exception>
    public Graph RecordText(int prompts, int clipSkip = 1)
    {
        CheckClipSkip(clipSkip);
        return ClipText.Record(TextConfig with { Layers = TextConfig.Layers - clipSkip + 1 }, prompts);
    }

    /// <exception cref="StableDiffusionException">The text encoder has no such layer, counted from its last one, which is 1.</exception>
    public void CheckClipSkip(int clipSkip)
    {
        if (clipSkip < 1 || clipSkip > TextConfig.Layers)
        {
            throw new StableDiffusionException($"clip skip {clipSkip} cannot be used; valid for {Name}: 1 … {TextConfig.Layers}");
        }
    }

    /// <param name="items">Batch items.</param>
    /// <param name="height">Of the latent.</param>
    /// <param name="width">Of the latent.</param>
    /// <param name="circular">Convolutions wrap around the edges.</param>
    /// <param name="tokens">Places of the encoded prompts; null for those of one chunk.</param>
    public Graph RecordUNet(int items, int height, int width, bool circular = false, int? tokens = null) =>
        UNet.Record(UNetConfig, items, height, width, tokens ?? TextConfig.Tokens, circular: circular);

    public Graph RecordDecoder(int height, int width, bool circular = false) => taesd is null
        ? AutoencoderKl.RecordDecoder(VaeConfig, 1, height, width, circular)
        : TinyAutoencoder.RecordDecoder(taesd.Config, 1, height, width, circular);

    /// <summary>For pictures of so many pixels.</summary>
    public Graph RecordEncoder(int height, int width, bool circular = false) => taesd is null
        ? AutoencoderKl.RecordEncoder(VaeConfig, 1, height, width, circular)
        : TinyAutoencoder.RecordEncoder(taesd.Config, 1, height, width, circular);

    /// <summary>Opens the weights of the autoencoder's encoder, which a model need not have. The caller disposes the result.</summary>
    /// <exception cref="StableDiffusionException">They are not there, or not of the right shapes.</exception>
    public IWeightSource OpenEncoderWeights()
    {
        if (taesd is not null)
        {
            return taesd.OpenWeights(encoder: true);
        }

        var declared = DeclareEncoder();
        var weights = source.Open(ModelPart.Vae, declared);
        if (!weights.Tensors.Keys.Any(AutoencoderKl.IsEncoderWeight))
        {
            using (weights)
            {
                throw new StableDiffusionException($"{weights.Description}: the autoencoder has no encoder, which {NeedForEncoder}");
            }
        }

        return WeightCheck.Checked(weights, declared, AutoencoderKl.IsDecoderWeight);
    }

    /// <summary>Opens a component's weights, checked against what its graph declares. The caller disposes the result.</summary>
    public IWeightSource OpenWeights(ModelPart part) =>
        part == ModelPart.Vae && taesd is not null ? taesd.OpenWeights() : OpenWeights(part, []);

    /// <summary>Files give all that they store; <paramref name="others"/> are for sources that make what they are asked for.</summary>
    private IWeightSource OpenWeights(ModelPart part, IReadOnlyList<TensorInfo> others)
    {
        var declared = Declare(part);
        var weights = source.Open(part, [.. declared, .. others]);
        try
        {
            WeightCheck.Require(weights, declared, name => part switch
            {
                ModelPart.TextEncoder => name == WeightCheck.PositionIds,
                ModelPart.Vae => AutoencoderKl.IsEncoderWeight(name),
                _ => false,
            });
            return part == ModelPart.TextEncoder ? learned.Extend(loras.Apply(part, weights)) : loras.Apply(part, weights);
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
        source.Layout, source.Sha256, [.. Enum.GetValues<ModelPart>().Select(Describe)], source.Ignored, Loras);

    /// <summary>Writes the model to a file or folder: everything that is stored, not only what the graphs use.</summary>
    public void Save(string output, TensorType? type, CancellationToken cancellationToken) =>
        ModelWriter.Write(
            source, part => OpenWeights(part, part == ModelPart.Vae ? DeclareEncoder() : []), output, type, cancellationToken);

    public void Dispose()
    {
        loras.Dispose();
        source.Dispose();
    }

    private PromptChunks OpenChunks() => new(tokenizer.Value, TextConfig.Tokens, Padding);

    private int Padding => source.Tokenizer?.PadToken is { } text
        ? tokenizer.Value.Find(text)
            ?? throw new StableDiffusionException($"{source.Description}: the padding token '{text}' is not in the tokenizer's vocabulary")
        : tokenizer.Value.EndOfText;

    /// <summary>Every id that the tokenizer can give must have a row in the text encoder's table.</summary>
    private ClipTokenizer OpenTokenizer()
    {
        var opened = source.Tokenizer is { VocabularyPath: { } vocabulary, MergesPath: { } merges }
            ? ClipTokenizer.Load(vocabulary, merges)
            : ClipTokenizer.BuiltIn;
        if (opened.VocabularySize > storedTextConfig.Vocabulary)
        {
            throw new StableDiffusionException(
                $"{source.Description}: the tokenizer has {opened.VocabularySize} tokens, "
                + $"the text encoder takes {storedTextConfig.Vocabulary}");
        }

        return learned.Extend(source.Tokenizer?.Added is { } added ? opened.With(StoredTokens.Of(added, opened, storedTextConfig)) : opened);
    }

    /// <summary>The tensors that the model's own files must hold; they do not depend on the size that a graph is recorded for.</summary>
    private IReadOnlyList<TensorInfo> Declare(ModelPart part)
    {
        var graph = part switch
        {
            ModelPart.TextEncoder => ClipText.Record(storedTextConfig, 1),
            ModelPart.UNet => RecordUNet(1, UNetConfig.SampleSize, UNetConfig.SampleSize),
            _ => AutoencoderKl.RecordDecoder(VaeConfig, 1, 1, 1),
        };
        return [.. graph.Weights.Select(w => new TensorInfo(w.Name, TensorType.F16, w.Shape))];
    }

    private IReadOnlyList<TensorInfo> DeclareEncoder()
    {
        var size = VaeConfig.PixelsPerLatent;
        return [.. AutoencoderKl.RecordEncoder(VaeConfig, 1, size, size).Weights.Select(w => new TensorInfo(w.Name, TensorType.F16, w.Shape))];
    }

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
