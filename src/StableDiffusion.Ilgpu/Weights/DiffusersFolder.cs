using System.Collections.Concurrent;
using System.Text.Json;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>A model in diffusers' folder layout: model_index.json and one folder a component, each with its JSON configuration.</summary>
internal sealed class DiffusersFolder : IModelSource
{
    public const string IndexName = "model_index.json";

    private const string Expected =
        "a folder in diffusers' layout holds model_index.json and the folders text_encoder, unet and vae, " +
        "each with config.json and safetensors weights";

    private readonly string folder;
    /// <summary>What model_index.json may name beside the three components: read elsewhere, or without use here.</summary>
    private static readonly string[] OtherEntries =
        ["scheduler", "tokenizer", "safety_checker", "feature_extractor", "image_encoder", "requires_safety_checker"];

    private readonly Dictionary<ModelPart, JsonElement> configs = [];
    private readonly List<string> ignored = [];
    private readonly Lazy<string?> hash;

    /// <summary>
    /// Opened once, each when it is first asked for: whatever is read of a component later, and its hash, is of the same file, also when another one has been
    /// given its name. Components may be opened side by side.
    /// </summary>
    private readonly ConcurrentDictionary<ModelPart, Lazy<IWeightSource>> weights = [];

    private DiffusersFolder(string folder)
    {
        this.folder = folder;
        Name = Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder)));
        hash = new Lazy<string?>(Hash);
    }

    public string Description => folder;

    public string Name { get; }

    /// <summary>Null for a UNet in several files: tools that print a hash know only single ones.</summary>
    public string? Sha256 => hash.Value;

    public string Layout => "folder in diffusers' layout";

    public IReadOnlyList<string> Ignored => ignored;

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
        var file = Opened(part);
        var source = new RenamedWeights(file, file.Tensors.Values.Select(t => new RenamedWeights.View(t, t.Name)), leaveOpen: true);
        return part == ModelPart.Vae ? RenamedWeights.WithCurrentAttentionNames(source) : source;
    }

    public void Dispose()
    {
        foreach (var file in weights.Values.Where(w => w.IsValueCreated))
        {
            file.Value.Dispose();
        }
    }

    private static bool IsIndex(string path) => path.EndsWith(".json", StringComparison.Ordinal);

    private void ReadIndex()
    {
        var path = Path.Combine(folder, IndexName);
        if (!File.Exists(path))
        {
            throw new StableDiffusionException($"{folder}: holds no {IndexName}; {Expected}");
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

        // Components that are null are not there; what is no component is a setting of diffusers' pipeline.
        foreach (var entry in index.EnumerateObject().Where(IsComponent))
        {
            if (!OtherEntries.Contains(entry.Name))
            {
                throw new StableDiffusionException(
                    $"{path}: names {entry.Name}{ClassIn(entry.Value)}, which is not supported; supported: "
                    + $"{string.Join(", ", Enum.GetValues<ModelPart>().Select(FolderOf))}, {string.Join(", ", OtherEntries[..^1])}");
            }

            if (entry.Name is not ("scheduler" or "tokenizer"))
            {
                ignored.Add(entry.Name);
            }
        }

        static bool IsComponent(JsonProperty entry) =>
            entry.Value.ValueKind == JsonValueKind.Array
            && !(entry.Value.GetArrayLength() == 2 && entry.Value[1].ValueKind == JsonValueKind.Null)
            && Enum.GetValues<ModelPart>().All(p => FolderOf(p) != entry.Name);

        static string ClassIn(JsonElement entry) =>
            entry.GetArrayLength() == 2 && entry[1].ValueKind == JsonValueKind.String ? $" ({entry[1]})" : "";
    }

    /// <summary>
    /// diffusers' order: the plain name before its variants (fp16 and bf16 before any other), a single file before shards, safetensors
    /// before PyTorch's own format.
    /// </summary>
    private string WeightPath(ModelPart part)
    {
        var (name, at) = (WeightsOf(part), Path.Combine(folder, FolderOf(part)));

        // transformers calls its PyTorch files differently.
        var pickled = part == ModelPart.TextEncoder ? "pytorch_model" : name;
        string[] names =
        [
            .. Names(name, "safetensors", ""), .. Names(name, "safetensors", "fp16"), .. Names(name, "safetensors", "bf16"),
            .. Names(pickled, "bin", ""), .. Names(pickled, "bin", "fp16"),
        ];
        if (names.FirstOrDefault(n => File.Exists(Path.Combine(at, n))) is { } found)
        {
            return Path.Combine(at, found);
        }

        var other = Directory.Exists(at) ? Directory.GetFiles(at, $"{name}.*.safetensors") : [];
        return other is [var only] ? only
            : throw new StableDiffusionException($"{at}: holds no weight file; looked for {string.Join(", ", names)}");

        static IEnumerable<string> Names(string name, string type, string variant) => variant.Length == 0
            ? [$"{name}.{type}", $"{name}.{type}.index.json"]
            : [$"{name}.{variant}.{type}", $"{name}.{type}.index.{variant}.json", $"{name}.{variant}.{type}.index.json"];
    }

    private static string Existing(string path) =>
        File.Exists(path) ? path : throw new StableDiffusionException($"{path}: is missing; {Expected}");

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
        return new TokenizerFiles(complete ? vocabulary : null, complete ? merges : null, pad, AddedTokens.In(at));
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

    private string? Hash() => (Opened(ModelPart.UNet) as IWeightFile)?.Sha256();

    private IWeightSource Opened(ModelPart part) => weights.GetOrAdd(part, p => new(() =>
    {
        var path = WeightPath(p);
        return IsIndex(path) ? ShardedWeights.Open(path) : WeightFile.Open(path);
    })).Value;
}
