using System.Runtime.InteropServices;
using System.Text.Json;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>Writes a model in diffusers' folder layout, so that <see cref="DiffusersFolder"/> opens it.</summary>
internal static class DiffusersFolderWriter
{
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    /// <summary>
    /// Writes the configurations, the tokenizer's files and the tensors named in <paramref name="tensors"/>, model_index.json last.
    /// </summary>
    /// <param name="source">The model.</param>
    /// <param name="tensors">Each component's tensors; their element types say nothing.</param>
    /// <param name="folder">Made where it is missing; files in it are replaced.</param>
    /// <param name="type">F16 or F32.</param>
    /// <exception cref="StableDiffusionException">A file cannot be written, or a tensor cannot be read.</exception>
    public static void Write(
        IModelSource source, IReadOnlyDictionary<ModelPart, IReadOnlyList<TensorInfo>> tensors, string folder, TensorType type)
    {
        try
        {
            foreach (var (part, declared) in tensors)
            {
                var at = Directory.CreateDirectory(Path.Combine(folder, DiffusersFolder.FolderOf(part))).FullName;
                WriteJson(Path.Combine(at, "config.json"), source.Config(part));
                using var weights = source.Open(part, declared);
                SafetensorsWriter.Write(
                    Path.Combine(at, $"{DiffusersFolder.WeightsOf(part)}.safetensors"), [.. declared.Select(t => t with { Type = type })],
                    (tensor, bytes) => Fill(weights, tensor, bytes));
            }

            Directory.CreateDirectory(Path.Combine(folder, "scheduler"));
            WriteJson(Path.Combine(folder, "scheduler", "scheduler_config.json"), source.SchedulerConfig);
            WriteTokenizer(source.Tokenizer, Path.Combine(folder, "tokenizer"));
            WriteJson(Path.Combine(folder, DiffusersFolder.IndexName), Index(tensors.Keys));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StableDiffusionException($"{folder}: cannot be written: {e.Message}", e);
        }
    }

    private static void Fill(IWeightSource weights, TensorInfo tensor, Span<byte> bytes)
    {
        if (tensor.Type == TensorType.F16)
        {
            weights.Read(tensor.Name, MemoryMarshal.Cast<byte, ushort>(bytes));
        }
        else if (tensor.Type == TensorType.F32)
        {
            weights.Read(tensor.Name, MemoryMarshal.Cast<byte, float>(bytes));
        }
        else
        {
            throw new ArgumentOutOfRangeException(nameof(tensor), tensor.Type, "F16 or F32");
        }
    }

    private static Dictionary<string, object> Index(IEnumerable<ModelPart> parts)
    {
        var index = new Dictionary<string, object> { ["_class_name"] = "StableDiffusionPipeline" };
        foreach (var part in parts)
        {
            var (library, name) = DiffusersFolder.ClassOf(part);
            index[DiffusersFolder.FolderOf(part)] = new[] { library, name };
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

        if (tokenizer.PadToken is { } pad)
        {
            WriteJson(Path.Combine(folder, "special_tokens_map.json"), new Dictionary<string, string> { ["pad_token"] = pad });
        }
    }

    private static void WriteJson<T>(string path, T value) => File.WriteAllText(path, JsonSerializer.Serialize(value, Indented) + "\n");
}
