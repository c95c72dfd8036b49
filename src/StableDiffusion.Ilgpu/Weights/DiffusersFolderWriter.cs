using System.Text.Json;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>Writes a model in diffusers' folder layout, so that <see cref="DiffusersFolder"/> opens it.</summary>
internal static class DiffusersFolderWriter
{
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    /// <summary>Writes the configurations, the tokenizer's files and all tensors of the opened weights, model_index.json last.</summary>
    /// <param name="source">The model.</param>
    /// <param name="open">Opens a component's weights.</param>
    /// <param name="folder">Made where it is missing; files in it are replaced.</param>
    /// <param name="type">F16, F32 or BF16; null for the types that the tensors have.</param>
    /// <param name="output">What messages call the folder; null for its path.</param>
    /// <param name="cancellationToken">Stops between two tensors.</param>
    /// <exception cref="StableDiffusionException">A file cannot be written, or a tensor cannot be read.</exception>
    public static void Write(
        IModelSource source, Func<ModelPart, IWeightSource> open, string folder, TensorType? type,
        string? output = null, CancellationToken cancellationToken = default)
    {
        try
        {
            foreach (var part in Enum.GetValues<ModelPart>())
            {
                var at = Directory.CreateDirectory(Path.Combine(folder, DiffusersFolder.FolderOf(part))).FullName;
                WriteJson(Path.Combine(at, "config.json"), source.Config(part));
                using var weights = open(part);
                var path = Path.Combine(at, $"{DiffusersFolder.WeightsOf(part)}.safetensors");
                SafetensorsWriter.Write(path, TensorCopy.Written(weights, type), (tensor, bytes) =>
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    TensorCopy.Fill(weights, tensor, bytes);
                }, output: output);
            }

            Directory.CreateDirectory(Path.Combine(folder, "scheduler"));
            WriteJson(Path.Combine(folder, "scheduler", "scheduler_config.json"), source.SchedulerConfig);
            WriteTokenizer(source.Tokenizer, Path.Combine(folder, "tokenizer"));
            WriteJson(Path.Combine(folder, DiffusersFolder.IndexName), Index(source));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw ModelWriter.CannotWrite(output ?? folder, e);
        }
    }

    private static Dictionary<string, object> Index(IModelSource source)
    {
        var unet = new ConfigReader(source.Config(ModelPart.UNet), source.ConfigDescription(ModelPart.UNet));
        var index = new Dictionary<string, object>
        {
            ["_class_name"] = unet.Int("in_channels", 4) == 9 ? "StableDiffusionInpaintPipeline" : "StableDiffusionPipeline",
        };
        foreach (var part in Enum.GetValues<ModelPart>())
        {
            var (library, name) = DiffusersFolder.ClassOf(part);
            index[DiffusersFolder.FolderOf(part)] = new[] { library, name };
        }

        var scheduler = source.SchedulerConfig.TryGetProperty("_class_name", out var written) ? written.ToString() : "PNDMScheduler";
        index["scheduler"] = new[] { "diffusers", scheduler };
        if (source.Tokenizer is not null)
        {
            index["tokenizer"] = new[] { "transformers", "CLIPTokenizer" };
        }

        return index;
    }

    private static void WriteTokenizer(TokenizerFiles? tokenizer, string folder)
    {
        if (tokenizer is null)
        {
            return;
        }

        Directory.CreateDirectory(folder);
        if (tokenizer is { VocabularyPath: { } vocabulary, MergesPath: { } merges })
        {
            File.Copy(vocabulary, Path.Combine(folder, "vocab.json"), overwrite: true);
            File.Copy(merges, Path.Combine(folder, "merges.txt"), overwrite: true);
        }

        if (tokenizer.Added is { } added)
        {
            WriteJson(Path.Combine(folder, AddedTokens.FileName), added.Ids);
        }

        if (tokenizer.PadToken is { } pad)
        {
            WriteJson(Path.Combine(folder, "special_tokens_map.json"), new Dictionary<string, string> { ["pad_token"] = pad });
        }
    }

    private static void WriteJson<T>(string path, T value) => File.WriteAllText(path, JsonSerializer.Serialize(value, Indented) + "\n");
}
