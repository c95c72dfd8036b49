using System.Text;
using StableDiffusion.Ilgpu.Models;
using StableDiffusion.Ilgpu.Sampling;
using StableDiffusion.Ilgpu.Text;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu.Tests.Samples;

/// <summary>One of the library's readers of foreign files, or of prompts, and how to let it read bytes to their end.</summary>
/// <param name="Name">For people to name it.</param>
/// <param name="Samples">Valid inputs.</param>
/// <param name="Tokens">What its format is made of, for inputs that are nearly right.</param>
/// <param name="Prepare">Writes an input into a folder; gives the bytes written and the reading, which is then to be watched.</param>
internal sealed record FileReader(
    string Name, IReadOnlyList<byte[]> Samples, IReadOnlyList<byte[]> Tokens, Func<string, byte[], (long Bytes, Action Read)> Prepare)
{
    private static readonly byte[][] JsonTokens =
    [
        .. new[]
        {
            "{", "}", "[", "]", ":", ",", "\"", "\\", "null", "true", "false", "0", "-1", "1e999", "1.5", "2147483648", "9223372036854775807",
            "9223372036854775808", "\"\"", "{}", "[]", "\"\\ud800\"", "\"\\n\"", "\"\\u0000\"", "[[[[[[[[", "{\"a\":", " ", "\n", "\ufeff",
            "\"shape\"", "\"dtype\":\"F64\"", "\"data_offsets\":[0,8]", "[0,0]", "[4294967296,4294967296]", "\"__metadata__\":{}",
        }.Select(Encoding.UTF8.GetBytes),
        [0xff], [0xc3], [0],
    ];

    private static readonly byte[][] PickleTokens =
    [
        .. new[]
        {
            "cos\nsystem\n", "cbuiltins\neval\n", "ccollections\nOrderedDict\n", "ctorch\nSize\n", "ctorch._utils\n_rebuild_tensor_v2\n",
            "ctorch\nFloatStorage\n", "ctorch._utils\n_rebuild_tensor_v3\n", "ctorch\nfloat8_e5m2\n", "ctorch._tensor\n_rebuild_from_type_v2\n",
            "comegaconf\nx\n", "ctorch.nn.modules.container\nParameterDict\n", "R", "\u0081", "b", "i", "o", "Q", "(", "t", "e", "u", "s", "a", "]",
            "}", ")", "N", ".", "0", "1", "2", "h\0", "q\0", "\u0094", "j\0\0\0\0", "r\xff\xff\xff\xff", "K\0", "M\xff\xff", "J\0\0\0\u0080",
            "\u008a\u0008\xff\xff\xff\xff\xff\xff\xff\u007f", "\u0093", "\u0085", "\u0086", "\u0087", "\u0095\0\0\0\0\0\0\0\0", "X\xff\xff\xff\xff",
            "\u0082\0", "\u008f", "\u0090", "\u0091", "]h\0a", "\u008c\0", "state_dict",
        }.Select(Encoding.Latin1.GetBytes),
    ];

    private static readonly byte[][] ZipTokens =
    [
        "PK\u0001\u0002"u8.ToArray(), "PK\u0003\u0004"u8.ToArray(), "PK\u0005\u0006"u8.ToArray(), "PK\u0006\u0006"u8.ToArray(),
        "PK\u0006\u0007"u8.ToArray(), [255, 255, 255, 255], [255, 255], [0, 0, 0, 0], [8, 0], [1, 0, 24, 0], "archive/data.pkl"u8.ToArray(),
        "archive/data/0"u8.ToArray(),
    ];

    private static IReadOnlyList<(byte[] Pickle, Dictionary<string, byte[]> Storages)> Pickles { get; } =
        [.. new[] { TorchFileWriter.Checkpoint(), TorchFileWriter.Embedding(), TorchFileWriter.OfPyTorch2() }.Select(PickleWriter.Write)];

    /// <summary>Every reader of what users are given by others.</summary>
    public static IReadOnlyList<FileReader> All { get; } =
    [
        new("safetensors", [SampleFiles.Safetensors(), SampleFiles.EmptySafetensors(), SampleFiles.Float8Safetensors()], JsonTokens, (folder, bytes) => OfFile(folder, "x.safetensors", bytes, path =>
        {
            using var file = SafetensorsFile.Open(path);
            ReadAll(file);
        })),
        new("torch", [.. Pickles.Select(p => TorchFileWriter.Zip(p.Pickle, p.Storages).ToArray())], ZipTokens, PrepareTorch),
        new("pickle", [.. Pickles.Select(p => p.Pickle)], PickleTokens, (folder, pickle) =>
            PrepareTorch(folder, TorchFileWriter.Zip(pickle, Pickles[0].Storages).ToArray())),
        new("configs", SampleFiles.Configs, JsonTokens, (folder, bytes) => OfFile(folder, "config.json", bytes, ReadConfigs)),
        new("index", [SampleFiles.Index()], JsonTokens, (folder, bytes) =>
        {
            File.WriteAllBytes(Path.Combine(folder, "a.safetensors"), SampleFiles.Safetensors());
            return OfFile(folder, "model.safetensors.index.json", bytes, path =>
            {
                using var file = ShardedWeights.Open(path);
                ReadAll(file);
            });
        }),
        new("folder", [SampleFiles.ModelIndex()], JsonTokens, (folder, bytes) =>
        {
            foreach (var part in new[] { "text_encoder", "unet", "vae" })
            {
                Directory.CreateDirectory(Path.Combine(folder, part));
                File.WriteAllText(Path.Combine(folder, part, "config.json"), "{}");
            }

            return OfFile(folder, "model_index.json", bytes, path => DiffusersFolder.Open(Path.GetDirectoryName(path)!).Dispose());
        }),
        new("vocabulary", [SampleFiles.Vocabulary()], JsonTokens, (folder, bytes) => OfTokenizer(folder, bytes, SampleFiles.Merges())),
        new("merges", [SampleFiles.Merges()], [" "u8.ToArray(), "\n"u8.ToArray(), "\r\n"u8.ToArray(), "#version"u8.ToArray(), "</w>"u8.ToArray(), [0xff]],
            (folder, bytes) => OfTokenizer(folder, SampleFiles.Vocabulary(), bytes)),
        new("added tokens", [SampleFiles.AddedTokens()], JsonTokens, (folder, bytes) => OfAddedTokens(folder, "added_tokens.json", bytes)),
        new("tokenizer config", [SampleFiles.TokenizerConfig()], JsonTokens, (folder, bytes) =>
            OfAddedTokens(folder, "tokenizer_config.json", bytes)),
        new("prompt", [.. PromptSamples.Examples.Select(Encoding.UTF8.GetBytes)], [.. PromptSamples.Tokens.Select(Encoding.UTF8.GetBytes)], (_, bytes) =>
            (bytes.Length, () => PromptSamples.Verify(Encoding.UTF8.GetString(bytes)))),
    ];

    /// <summary>Each float tensor in both ways, through a buffer of at most the largest tensor's size.</summary>
    private static void ReadAll(IWeightSource source)
    {
        foreach (var tensor in source.Tensors.Values.Where(t => FloatConversion.IsFloat(t.Type)))
        {
            source.Read(tensor.Name, new float[tensor.Count]);
            source.Read(tensor.Name, new ushort[tensor.Count]);
        }
    }

    private static (long Bytes, Action Read) PrepareTorch(string folder, byte[] bytes) => OfFile(folder, "x.ckpt", bytes, path =>
    {
        using var file = TorchFile.Open(path);
        ReadAll(file);
    });

    /// <summary>Whatever configuration the file may be.</summary>
    private static void ReadConfigs(string path)
    {
        var json = JsonFile.Read(path);
        if (json.TryGetProperty("hidden_size", out _))
        {
            _ = ClipText.Record(ClipTextConfig.Parse(json, path), 1).Weights;
        }
        else if (json.TryGetProperty("latent_channels", out _))
        {
            _ = AutoencoderKl.RecordDecoder(AutoencoderKlConfig.Parse(json, path), 1, 1, 1).Weights;
        }
        else if (json.TryGetProperty("block_out_channels", out _))
        {
            var config = UNetConfig.Parse(json, path);
            _ = UNet.Record(config, 1, config.SampleSize, config.SampleSize, 77).Weights;
        }
        else
        {
            var schedule = NoiseSchedule.Parse(json, path);
            _ = schedule.Timesteps(schedule.Spacing ?? TimestepSpacing.Leading, 20);
        }
    }

    private static (long Bytes, Action Read) OfFile(string folder, string name, byte[] bytes, Action<string> read)
    {
        var path = Path.Combine(folder, name);
        File.WriteAllBytes(path, bytes);
        return (bytes.Length, () => read(path));
    }

    private static (long Bytes, Action Read) OfAddedTokens(string folder, string name, byte[] bytes) =>
        OfFile(Directory.CreateDirectory(Path.Combine(folder, name[..^".json".Length])).FullName, name, bytes, path =>
        {
            if (AddedTokens.In(Path.GetDirectoryName(path)!) is { } added)
            {
                var config = new ClipTextConfig(49410, 77, 768, 3072, 12, 12, "quick_gelu", 1e-5);
                _ = ClipTokenizer.BuiltIn.With(StoredTokens.Of(added, ClipTokenizer.BuiltIn, config)).Encode("a <cat>", 77, 0);
            }
        });

    private static (long Bytes, Action Read) OfTokenizer(string folder, byte[] vocabulary, byte[] merges)
    {
        var (vocabularyPath, mergesPath) = (Path.Combine(folder, "vocab.json"), Path.Combine(folder, "merges.txt"));
        File.WriteAllBytes(vocabularyPath, vocabulary);
        File.WriteAllBytes(mergesPath, merges);
        return (vocabulary.Length + merges.Length, () => ClipTokenizer.Load(vocabularyPath, mergesPath).Encode("a cat, the cat", 77, 0));
    }
}
