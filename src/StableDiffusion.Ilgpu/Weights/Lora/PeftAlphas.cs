using System.Text.Json;

namespace StableDiffusion.Ilgpu.Weights.Lora;

/// <summary>
/// How strongly the modules of a file of PEFT's count. PEFT writes no alpha beside the factors: it stands in the <c>adapter_config.json</c>
/// beside an <c>adapter_model</c> file, or, under <c>unet.</c> and <c>text_encoder.</c>, in the metadata of diffusers' files.
/// </summary>
internal sealed class PeftAlphas
{
    /// <summary>diffusers' key in the metadata.</summary>
    public const string MetadataKey = "lora_adapter_metadata";

    /// <summary>Many more than a model has modules.</summary>
    private const int MostPatterns = 10_000;

    private const string ConfigName = "adapter_config.json", ModelName = "adapter_model";

    /// <summary>The settings of modules whose names begin so.</summary>
    private readonly List<(string Prefix, Settings Settings)> sections = [];

    public static PeftAlphas Of(IWeightSource source)
    {
        var alphas = new PeftAlphas();
        var path = source.Description;
        var config = Path.Combine(Path.GetDirectoryName(path) ?? "", ConfigName);
        if ((source as SafetensorsFile)?.FindMetadata(MetadataKey) is { } text)
        {
            var json = JsonFile.ParseObject(text, $"{path}: {MetadataKey}");
            foreach (var prefix in new[] { "unet.", "text_encoder." })
            {
                alphas.Add(prefix, Settings.Read(json, prefix, $"{path}: {MetadataKey}"));
            }
        }
        else if (Path.GetFileNameWithoutExtension(path) == ModelName && File.Exists(config))
        {
            alphas.Add("", Settings.Read(JsonFile.Read(config), "", config));
        }

        return alphas;
    }

    /// <summary>alpha / rank, or alpha / sqrt(rank) for rank-stabilised LoRAs (Kalajdzievski 2023, arXiv:2312.03732); 1 where nothing says.</summary>
    public double FactorOf(string module, long rank) =>
        sections.FirstOrDefault(s => module.StartsWith(s.Prefix, StringComparison.Ordinal)).Settings?.FactorOf(module, rank) ?? 1;

    private void Add(string prefix, Settings? settings)
    {
        if (settings is not null)
        {
            sections.Add((prefix, settings));
        }
    }

    /// <param name="Alpha">Of all modules that no pattern names.</param>
    /// <param name="Patterns">Alphas of modules that are called so, or whose path ends so.</param>
    /// <param name="IsRankStabilised">Whether alpha is divided by the rank's square root.</param>
    private sealed record Settings(double Alpha, IReadOnlyList<(string Name, double Alpha)> Patterns, bool IsRankStabilised)
    {
        public static Settings? Read(JsonElement json, string prefix, string description)
        {
            var reader = new ConfigReader(json, description);
            if (!reader.Has($"{prefix}lora_alpha"))
            {
                return null;
            }

            var patterns = new List<(string, double)>();
            var key = $"{prefix}alpha_pattern";
            if (reader.Has(key))
            {
                if (json.GetProperty(key) is not { ValueKind: JsonValueKind.Object } alphas)
                {
                    throw reader.Error(key, "is not an object");
                }

                if (alphas.GetPropertyCount() is > MostPatterns and var count)
                {
                    throw reader.Error(key, $"has {count} patterns; valid: up to {MostPatterns}");
                }

                foreach (var pattern in alphas.EnumerateObject())
                {
                    // PEFT takes regular expressions; files in use name modules.
                    patterns.Add(
                        (pattern.Name.All(c => char.IsLetterOrDigit(c) || c is '.' or '_' or '-') ? pattern.Name
                            : throw reader.Error(key, $"has the pattern '{pattern.Name}'; supported: names of modules"),
                        new ConfigReader(alphas, $"{description}: {key}").Number(pattern.Name)));
                }
            }

            return new(reader.Number($"{prefix}lora_alpha"), patterns, reader.Flag($"{prefix}use_rslora", false));
        }

        public double FactorOf(string module, long rank)
        {
            var alpha = Patterns.Where(p => module == p.Name || module.EndsWith($".{p.Name}", StringComparison.Ordinal))
                .Select(p => (double?)p.Alpha).FirstOrDefault() ?? Alpha;
            return alpha / (IsRankStabilised ? Math.Sqrt(rank) : rank);
        }
    }
}
