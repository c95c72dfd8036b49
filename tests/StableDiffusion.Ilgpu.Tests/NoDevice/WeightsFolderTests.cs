using System.Text.Json;
using System.Text.Json.Nodes;
using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Models;
using StableDiffusion.Ilgpu.Weights;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>diffusers' folder layout: the models in the repository, damaged copies of them, and folders that we wrote.</summary>
public sealed class WeightsFolderTests : IDisposable
{
    private readonly WeightsTestFiles files = new();

    private static string Demo => Path.Combine(ReferenceData.Repository, "weights", "demo");

    private static string Tiny => ReferenceData.PathOf("tiny-sd15");

    public void Dispose() => files.Dispose();

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_folder_opens_and_every_tensor_is_declared(bool demo)
    {
        var path = demo ? Demo : Tiny;
        using var model = ModelSource.Open(path);
        Assert.Equal((path, Path.GetFileName(path)), (model.Description, model.Name));
        foreach (var (part, folder) in new[] { (ModelPart.TextEncoder, "text_encoder"), (ModelPart.UNet, "unet"), (ModelPart.Vae, "vae") })
        {
            var stored = File.ReadAllText(Path.Combine(path, folder, "config.json"));
            Assert.True(JsonElement.DeepEquals(JsonElement.Parse(stored), model.Config(part)));
            Assert.Equal(Path.Combine(path, folder, "config.json"), model.ConfigDescription(part));
            using var weights = model.Open(part, []);
            WeightCheck.Require(weights, Declared(model, part), Ignored(part));
        }

        var scheduler = File.ReadAllText(Path.Combine(path, "scheduler", "scheduler_config.json"));
        Assert.True(JsonElement.DeepEquals(JsonElement.Parse(scheduler), model.SchedulerConfig));
        Assert.NotNull(model.Tokenizer);
        var special = JsonElement.Parse(File.ReadAllText(Path.Combine(path, "tokenizer", "special_tokens_map.json"))).GetProperty("pad_token");
        special = special.ValueKind == JsonValueKind.Object ? special.GetProperty("content") : special;
        Assert.Equal(special.GetString(), model.Tokenizer.PadToken);
        Assert.Equal(File.Exists(Path.Combine(path, "tokenizer", "vocab.json")), model.Tokenizer.VocabularyPath is not null);
        Assert.Equal(model.Tokenizer.VocabularyPath is null, model.Tokenizer.MergesPath is null);
    }

    [Fact]
    public void The_short_hash_is_the_UNet_files()
    {
        using var model = ModelSource.Open(Demo + "/");
        var bytes = File.ReadAllBytes(Path.Combine(Demo, "unet", "diffusion_pytorch_model.safetensors"));
        Assert.Equal(Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(bytes))[..10], model.ShortHash);
        Assert.Equal("demo", model.Name);
    }

    [Fact]
    public void What_is_no_model_says_what_one_is()
    {
        var empty = Directory.CreateDirectory(files.PathOf("empty")).FullName;
        WeightsTestFiles.Refused(() => ModelSource.Open(empty), empty, "model_index.json", "text_encoder, unet and vae");
        var none = files.PathOf("none");
        WeightsTestFiles.Refused(() => ModelSource.Open(none), none, "no such model", "synthetic:sd15[:SALT]", "model_index.json");
        WeightsTestFiles.Refused(() => ModelSource.Open(""), "no such model");
        var single = files.Write("model.safetensors", "x");
        WeightsTestFiles.Refused(() => ModelSource.Open(single), single, "too few for a safetensors file");
    }

    [Theory]
    [InlineData("model_index.json", "model_index.json")]
    [InlineData("text_encoder/config.json", "is missing")]
    [InlineData("unet/config.json", "is missing")]
    [InlineData("vae/config.json", "is missing")]
    [InlineData("tokenizer/merges.txt", "no merges.txt")]
    [InlineData("tokenizer/vocab.json", "no vocab.json")]
    [InlineData("text_encoder/model.safetensors", "no weight file")]
    [InlineData("unet/diffusion_pytorch_model.safetensors", "no weight file")]
    [InlineData("vae/diffusion_pytorch_model.safetensors", "no weight file")]
    public void A_missing_file_is_named(string file, string message)
    {
        var copy = Copy();
        File.Delete(Path.Combine(copy, file));
        WeightsTestFiles.Refused(() => OpenAll(copy), Path.Combine(copy, Path.GetDirectoryName(file)!).TrimEnd('/'), message);
    }

    [Theory]
    [InlineData("model_index.json")]
    [InlineData("text_encoder/config.json")]
    [InlineData("unet/config.json")]
    [InlineData("vae/config.json")]
    [InlineData("scheduler/scheduler_config.json")]
    [InlineData("tokenizer/special_tokens_map.json")]
    public void A_damaged_file_is_named(string file)
    {
        var copy = Copy();
        foreach (var text in new[] { "", "{", "[]", "{\"a\":1,\n\"a\":2}" })
        {
            var path = Path.Combine([copy, .. file.Split('/')]);
            File.WriteAllText(path, text);
            WeightsTestFiles.Refused(() => OpenAll(copy), path, "JSON");
        }
    }

    [Fact]
    public void Other_kinds_of_models_are_refused()
    {
        var copy = Copy();
        var index = Path.Combine(copy, "model_index.json");
        var text = File.ReadAllText(index);
        File.WriteAllText(index, text.Replace("UNet2DConditionModel", "FluxTransformer2DModel", StringComparison.Ordinal));
        WeightsTestFiles.Refused(() => OpenAll(copy), index, "unet is FluxTransformer2DModel; supported: UNet2DConditionModel");
        File.WriteAllText(index, text.Replace("\"vae\"", "\"vea\"", StringComparison.Ordinal));
        WeightsTestFiles.Refused(() => OpenAll(copy), index, "names no vae");
        File.WriteAllText(index, text.Replace("\"vae\"", "\"text_encoder_2\":[\"transformers\",\"T5\"],\"vae\"", StringComparison.Ordinal));
        WeightsTestFiles.Refused(() => OpenAll(copy), index, "text_encoder_2");
    }

    [Fact]
    public void Scheduler_and_tokenizer_may_be_absent()
    {
        var copy = Copy();
        Directory.Delete(Path.Combine(copy, "scheduler"), recursive: true);
        Directory.Delete(Path.Combine(copy, "tokenizer"), recursive: true);
        using var model = ModelSource.Open(copy);
        Assert.Equal(JsonValueKind.Object, model.SchedulerConfig.ValueKind);
        Assert.Empty(model.SchedulerConfig.EnumerateObject());
        Assert.Null(model.Tokenizer);
    }

    [Theory]
    [InlineData("""{"pad_token":"!"}""", """{"pad_token":"x"}""", "!")]
    [InlineData("""{"pad_token":{"content":"!","lstrip":false}}""", "{}", "!")]
    [InlineData("""{"bos_token":"b"}""", """{"pad_token":{"__type":"AddedToken","content":"x"}}""", "x")]
    [InlineData("""{"pad_token":null}""", """{"pad_token":"x"}""", "x")]
    [InlineData(null, """{"pad_token":"x"}""", "x")]
    [InlineData("{}", null, null)]
    public void The_padding_token_is_found(string? map, string? config, string? expected)
    {
        var copy = Copy();
        Replace("special_tokens_map.json", map);
        Replace("tokenizer_config.json", config);
        using var model = ModelSource.Open(copy);
        Assert.Equal(expected, model.Tokenizer!.PadToken);

        void Replace(string name, string? text)
        {
            var path = Path.Combine(copy, "tokenizer", name);
            File.Delete(path);
            if (text is not null)
            {
                File.WriteAllText(path, text);
            }
        }
    }

    [Theory]
    [InlineData("""{"pad_token":3}""")]
    [InlineData("""{"pad_token":{"lstrip":false}}""")]
    public void A_padding_token_that_is_no_text_is_refused(string map)
    {
        var copy = Copy();
        File.WriteAllText(Path.Combine(copy, "tokenizer", "special_tokens_map.json"), map);
        WeightsTestFiles.Refused(() => ModelSource.Open(copy), "special_tokens_map.json", "pad_token");
    }

    [Fact]
    public void Variants_and_shards_are_found()
    {
        var copy = Copy();
        var unet = Path.Combine(copy, "unet");
        var plain = Path.Combine(unet, "diffusion_pytorch_model.safetensors");
        var variant = Path.Combine(unet, "diffusion_pytorch_model.fp16.safetensors");
        File.Move(plain, variant);
        using (var model = ModelSource.Open(copy))
        {
            using var weights = model.Open(ModelPart.UNet, []);
            Assert.Equal(variant, weights.Description);
            Assert.NotNull(model.ShortHash);
        }

        var part = Path.Combine(unet, "part.safetensors");
        File.Move(variant, part);
        foreach (var name in new[] { "diffusion_pytorch_model.safetensors.index.fp16.json", "diffusion_pytorch_model.safetensors.index.json" })
        {
            using var names = SafetensorsFile.Open(part);
            var map = names.Tensors.Keys.ToDictionary(n => n, _ => "part.safetensors");
            File.WriteAllText(Path.Combine(unet, name), JsonSerializer.Serialize(new { weight_map = map }));
            using var model = ModelSource.Open(copy);
            using var weights = model.Open(ModelPart.UNet, []);
            Assert.Equal(Path.Combine(unet, name), weights.Description);
            WeightCheck.Require(weights, Declared(model, ModelPart.UNet), _ => false);
            Assert.Null(model.ShortHash);
        }
    }

    /// <summary>Of several files the plain one is read, else fp16's, else bf16's, before any of PyTorch's own format.</summary>
    [Fact]
    public void Of_several_variants_the_first_in_diffusers_order_is_read()
    {
        var copy = Copy();
        var unet = Path.Combine(copy, "unet");
        string[] order = ["safetensors", "fp16.safetensors", "bf16.safetensors", "bin", "fp16.bin"];
        string[] paths = [.. order.Select(end => Path.Combine(unet, $"diffusion_pytorch_model.{end}"))];
        foreach (var path in paths[1..])
        {
            File.Copy(paths[0], path);
        }

        foreach (var path in paths[..3])
        {
            using (var model = ModelSource.Open(copy))
            {
                using var weights = model.Open(ModelPart.UNet, []);
                Assert.Equal(path, weights.Description);
            }

            File.Delete(path);
        }
    }

    [Fact]
    public void Missing_weights_name_the_files_looked_for()
    {
        var copy = Copy();
        File.Delete(Path.Combine(copy, "unet", "diffusion_pytorch_model.safetensors"));
        WeightsTestFiles.Refused(
            () => OpenAll(copy), "unet", "diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.bf16.safetensors",
            "diffusion_pytorch_model.bin", "diffusion_pytorch_model.bin.index.json");
    }

    /// <summary>Safety checker and feature extractor are known to be without use; a component that is not known is refused.</summary>
    [Fact]
    public void Further_components_are_ignored_by_name()
    {
        var copy = Copy();
        var index = Path.Combine(copy, "model_index.json");
        var json = JsonNode.Parse(File.ReadAllText(index))!.AsObject();
        json["safety_checker"] = new JsonArray("stable_diffusion", "StableDiffusionSafetyChecker");
        json["feature_extractor"] = new JsonArray("transformers", "CLIPFeatureExtractor");
        json["image_encoder"] = new JsonArray(null, null);
        json["requires_safety_checker"] = true;
        File.WriteAllText(index, json.ToJsonString());
        using (var model = ModelSource.Open(copy))
        {
            Assert.Equal(["feature_extractor", "safety_checker"], model.Ignored.Order());
        }

        json["text_encoder_2"] = new JsonArray("transformers", "CLIPTextModelWithProjection");
        File.WriteAllText(index, json.ToJsonString());
        WeightsTestFiles.Refused(() => ModelSource.Open(copy), "text_encoder_2", "CLIPTextModelWithProjection", "not supported");
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_written_folder_opens_with_the_same_values(bool half)
    {
        var type = half ? TensorType.F16 : TensorType.F32;
        using var source = ModelSource.Open(Demo);
        var tensors = Enum.GetValues<ModelPart>().ToDictionary(p => p, p => (IReadOnlyList<TensorInfo>)Declared(source, p));
        var folder = files.PathOf("written", "model");
        DiffusersFolderWriter.Write(source, part => source.Open(part, tensors[part]), folder, type, cancellationToken: TestContext.Current.CancellationToken);
        Assert.Empty(Directory.GetFiles(folder, "*.tmp", SearchOption.AllDirectories));

        using var written = ModelSource.Open(folder);
        Assert.Equal(source.Tokenizer!.PadToken, written.Tokenizer!.PadToken);
        Assert.Equal(File.ReadAllText(source.Tokenizer.MergesPath!), File.ReadAllText(written.Tokenizer.MergesPath!));
        Assert.Equal(File.ReadAllText(source.Tokenizer.VocabularyPath!), File.ReadAllText(written.Tokenizer.VocabularyPath!));
        Assert.True(JsonElement.DeepEquals(source.SchedulerConfig, written.SchedulerConfig));
        foreach (var (part, declared) in tensors)
        {
            Assert.True(JsonElement.DeepEquals(source.Config(part), written.Config(part)));
            using var before = source.Open(part, declared);
            using var after = written.Open(part, declared);
            Assert.Equal(before.Tensors.Keys.Order(), after.Tensors.Keys.Order());
            foreach (var tensor in before.Tensors.Values)
            {
                Assert.Equal(type, after.Tensors[tensor.Name].Type);
                var (x, y) = (new float[tensor.Count], new float[tensor.Count]);
                before.Read(tensor.Name, x);
                after.Read(tensor.Name, y);
                Assert.True(x.AsSpan().SequenceEqual(y), tensor.Name);
            }
        }
    }

    [Fact]
    public void A_write_that_fails_leaves_nothing_behind()
    {
        var path = files.Write("kept.safetensors", "old");
        TensorInfo[] tensors = [new("a", TensorType.F32, [4])];
        Assert.Throws<InvalidOperationException>(() => SafetensorsWriter.Write(path, tensors, (_, _) => throw new InvalidOperationException()));
        Assert.Equal("old", File.ReadAllText(path));
        Assert.Equal([path], Directory.GetFiles(files.Folder));
        WeightsTestFiles.Refused(
            () => SafetensorsWriter.Write(files.PathOf("none", "x.safetensors"), tensors, (_, _) => { }), "x.safetensors", "cannot be written");
        WeightsTestFiles.Refused(
            () => DiffusersFolderWriter.Write(
                SyntheticModel.Open("synthetic:sd15"), part => SyntheticModel.Open("synthetic:sd15").Open(part, tensors),
                Path.Combine(path, "below"), TensorType.F16),
            "cannot be written");
    }

    private static List<TensorInfo> Declared(IModelSource model, ModelPart part)
    {
        var (config, description) = (model.Config(part), model.ConfigDescription(part));
        Graph graph = part switch
        {
            ModelPart.TextEncoder => ClipText.Record(ClipTextConfig.Parse(config, description), 1),
            ModelPart.UNet => UNet.Record(UNetConfig.Parse(config, description), 1, 8, 8, 77),
            _ => AutoencoderKl.RecordDecoder(AutoencoderKlConfig.Parse(config, description), 1, 8, 8),
        };
        return [.. graph.Weights.Select(w => new TensorInfo(w.Name, TensorType.F16, w.Shape))];
    }

    private static Func<string, bool> Ignored(ModelPart part) => part switch
    {
        ModelPart.TextEncoder => name => name == WeightCheck.PositionIds,
        ModelPart.UNet => _ => false,
        _ => AutoencoderKl.IsEncoderWeight,
    };

    private static void OpenAll(string folder)
    {
        using var model = ModelSource.Open(folder);
        foreach (var part in Enum.GetValues<ModelPart>())
        {
            model.Open(part, []).Dispose();
        }
    }

    /// <summary>The demo model, without its pictures.</summary>
    private string Copy()
    {
        var copy = files.PathOf("copy");
        TemporaryFolder.Copy(Demo, copy, f => Path.GetExtension(f) is ".json" or ".txt" or ".safetensors");
        return copy;
    }
}
