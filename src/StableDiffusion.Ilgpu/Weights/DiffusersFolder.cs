using System.Security.Cryptography;
using System.Text.Json;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>A model in diffusers' folder layout: model_index.json and one folder a component, each with its JSON configuration.</summary>
internal sealed class DiffusersFolder : IModelSource
{
    public const string IndexName = "model_index.json";

    private const string Layout =
        "a folder in diffusers' layout holds model_index.json and the folders text_encoder, unet and vae, " +
        "each with config.json and safetensors weights";

    private readonly string folder;
    private readonly Dictionary<ModelPart, JsonElement> configs = [];
    private readonly Lazy<string?> shortHash;

    private DiffusersFolder(string folder)
    {
        this.folder = folder;
        Name = Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder)));
        shortHash = new Lazy<string?>(Hash);
    }

    public string Description => folder;

    public string Name { get; }

    /// <summary>Null for a UNet in several files: tools that print a hash know only single ones.</summary>
    public string? ShortHash => shortHash.Value;

    public JsonElement SchedulerConfig { get; private set; }

    public string SchedulerConfigDescription => Path.Combine(folder, "scheduler", "scheduler_config.json");

    public TokenizerFiles? Tokenizer { get; private set; }

    /// <exception cref="StableDiffusionException">The folder is not there, not a model's, or lacks a component's configuration.</exception>
    public static DiffusersFolder Open(string folder)
    {
        if (!Directory.Exists(folder))
        {
            throw new StableDiffusionException($"{folder}: no such folder");
        }

        var model = new DiffusersFolder(folder);
        model.ReadIndex();
        foreach (var part in Enum.GetValues<ModelPart>())
        {
            model.configs[part] = JsonFile.Read(Existing(model.ConfigDescription(part)));
        }

        model.SchedulerConfig = File.Exists(model.SchedulerConfigDescription)
            ? JsonFile.Read(model.SchedulerConfigDescription)
            : JsonFile.ParseObject("{}", model.SchedulerConfigDescription);
        model.Tokenizer = model.FindTokenizer();
        return model;
    }

    /// <summary>A component's folder.</summary>
    public static string FolderOf(ModelPart part) => part switch
    {
        ModelPart.TextEncoder => "text_encoder",
        ModelPart.UNet => "unet",
        _ => "vae",
    };

    /// <summary>The class that model_index.json names for a component: library and class.</summary>
    public static (string Library, string Class) ClassOf(ModelPart part) => part switch
    {
        ModelPart.TextEncoder => ("transformers", "CLIPTextModel"),
        ModelPart.UNet => ("diffusers", "UNet2DConditionModel"),
        _ => ("diffusers", "AutoencoderKL"),
    };

    /// <summary>A component's weight file without its extensions: transformers and diffusers differ.</summary>
    public static string WeightsOf(ModelPart part) => part == ModelPart.TextEncoder ? "model" : "diffusion_pytorch_model";

    public JsonElement Config(ModelPart part) => configs[part];

    public string ConfigDescription(ModelPart part) => Path.Combine(folder, FolderOf(part), "config.json");

    public IWeightSource Open(ModelPart part, IReadOnlyList<TensorInfo> declared)
    {
        var path = WeightFile(part);
        IWeightSource source = IsIndex(path) ? ShardedSafetensors.Open(path) : SafetensorsFile.Open(path);
        try
        {
            return part == ModelPart.Vae ? RenamedWeights.WithCurrentAttentionNames(source) : source;
        }
        catch
        {
            source.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
    }

    private static bool IsIndex(string path) => path.EndsWith(".json", StringComparison.Ordinal);

    private void ReadIndex()
    {
        var path = Path.Combine(folder, IndexName);
        if (!File.Exists(path))
        {
            throw new StableDiffusionException($"{folder}: holds no {IndexName}; {Layout}");
        }

        var index = JsonFile.Read(path);
        foreach (var part in Enum.GetValues<ModelPart>())
        {
            var expected = ClassOf(part).Class;
            if (!index.TryGetProperty(FolderOf(part), out var entry) || entry.ValueKind != JsonValueKind.Array
                || entry.GetArrayLength() != 2 || entry[1].ValueKind != JsonValueKind.String)
            {
                throw new StableDiffusionException($"{path}: names no {FolderOf(part)}; {expected} is needed");
            }

            if (entry[1].GetString() != expected)
            {
                throw new StableDiffusionException($"{path}: {FolderOf(part)} is {entry[1]}; supported: {expected}");
            }
        }

        if (index.TryGetProperty("text_encoder_2", out _))
        {
            throw new StableDiffusionException($"{path}: names a second text encoder (text_encoder_2), which is not supported");
        }
    }

    /// <summary>diffusers' order: the plain name before its fp16 variant, a single file before shards.</summary>
    private string WeightFile(ModelPart part)
    {
        var (name, at) = (WeightsOf(part), Path.Combine(folder, FolderOf(part)));
        string[] names =
        [
            $"{name}.safetensors", $"{name}.safetensors.index.json",
            $"{name}.fp16.safetensors", $"{name}.safetensors.index.fp16.json", $"{name}.fp16.safetensors.index.json",
        ];
        if (names.FirstOrDefault(n => File.Exists(Path.Combine(at, n))) is { } found)
        {
            return Path.Combine(at, found);
        }

        var pickled = File.Exists(Path.Combine(at, $"{name}.bin")) ? $" ({name}.bin is PyTorch's own format, which is not read)" : "";
        throw new StableDiffusionException($"{at}: holds no weight file{pickled}; looked for {string.Join(", ", names)}");
    }

    private static string Existing(string path) =>
        File.Exists(path) ? path : throw new StableDiffusionException($"{path}: is missing; {Layout}");

    private TokenizerFiles? FindTokenizer()
    {
        var at = Path.Combine(folder, "tokenizer");
        if (!Directory.Exists(at))
        {
            return null;
        }

        var (vocabulary, merges) = (Path.Combine(at, "vocab.json"), Path.Combine(at, "merges.txt"));
        var complete = (File.Exists(vocabulary), File.Exists(merges)) switch
        {
            (true, true) => true,
            (false, false) => false,
            (true, false) => throw new StableDiffusionException($"{at}: holds vocab.json but no merges.txt"),
            _ => throw new StableDiffusionException($"{at}: holds merges.txt but no vocab.json"),
        };
        var pad = PadToken(Path.Combine(at, "special_tokens_map.json")) ?? PadToken(Path.Combine(at, "tokenizer_config.json"));
        return new TokenizerFiles(complete ? vocabulary : null, complete ? merges : null, pad);
    }

    /// <summary>A token is a text, or an object with its text as "content".</summary>
    private static string? PadToken(string path)
    {
        if (!File.Exists(path) || !JsonFile.Read(path).TryGetProperty("pad_token", out var token) || token.ValueKind == JsonValueKind.Null)
        {
            return null;
        }

        if (token.ValueKind == JsonValueKind.Object && token.TryGetProperty("content", out var content))
        {
            token = content;
        }

        return token.ValueKind == JsonValueKind.String
            ? token.GetString()
            : throw new StableDiffusionException($"{path}: pad_token is {token.GetRawText().ReplaceLineEndings(" ")}, not a text");
    }

    private string? Hash()
    {
        var path = WeightFile(ModelPart.UNet);
        if (IsIndex(path))
        {
            return null;
        }

        try
        {
            using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 20, FileOptions.SequentialScan);
            return Convert.ToHexStringLower(SHA256.HashData(stream))[..10];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StableDiffusionException($"{path}: cannot be read: {e.Message}", e);
        }
    }
}
