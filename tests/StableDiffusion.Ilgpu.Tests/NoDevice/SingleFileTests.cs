using StableDiffusion.Ilgpu.Weights;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Single files of the reference's small models against their folders, and what is not taken for a model.</summary>
[Trait("Kind", "Reference")]
public sealed class SingleFileTests : IDisposable
{
    private readonly WeightsTestFiles files = new();

    public static IEnumerable<TheoryDataRow<string>> Models => SingleFileSample.Models.Select(m => new TheoryDataRow<string>(m));

    public void Dispose() => files.Dispose();

    [Theory]
    [MemberData(nameof(Models))]
    public void A_single_file_holds_the_folders_weights(string model)
    {
        var path = new SingleFileSample(model).Write(files.PathOf("model.safetensors"));
        Compare(model, "written from folder and key map", Options(model, path));
        Compare(model, ".ckpt", Options(model, new SingleFileSample(model).WriteTorch(files.PathOf("model.ckpt"))));
        if (SingleFileSample.StoredFile(model) is { } stored)
        {
            Compare(model, "the set's own", new ModelOptions { Model = stored });
        }
        else
        {
            ReferenceData.LeaveOut($"{model}, the set's own single file", "the set has none");
        }
    }

    /// <summary>EMA copies, leftovers of training, and attention of the autoencoder as matrices.</summary>
    [Theory]
    [MemberData(nameof(Models))]
    public void Other_forms_of_the_file_hold_the_same(string model)
    {
        var sample = new SingleFileSample(model);
        var tensors = sample.Tensors.Values.ToList();
        foreach (var tensor in tensors.Where(t => t.Name.StartsWith("model.diffusion_model.", StringComparison.Ordinal)))
        {
            sample.Add($"model_ema.{tensor.Name["model.".Length..].Replace(".", "", StringComparison.Ordinal)}", tensor.Shape);
        }

        foreach (var name in new[] { "posterior_mean_coef1", "log_one_minus_alphas_cumprod", "first_stage_model.loss.logvar", "logvar" })
        {
            sample.Add(name, 3);
        }

        foreach (var tensor in tensors.Where(t => t.Name.Contains(".attn_1.", StringComparison.Ordinal) && t.Shape.Length == 4))
        {
            sample.Tensors[tensor.Name] = tensor with { Shape = tensor.Shape[..2] };
        }

        Compare(model, "with EMA, leftovers and linear attention", Options(model, sample.Write(files.PathOf("ema.safetensors"))));
    }

    [Fact]
    public void Configurations_lie_beside_the_file_or_are_named()
    {
        var model = SingleFileSample.Models.First();
        var sample = new SingleFileSample(model);
        var path = sample.Write(files.PathOf("model.safetensors"));
        WeightsTestFiles.Refused(() => ModelSource.Open(path), path, "no published ones", "unet: ", "--config");
        TemporaryFolder.CopyConfigs(ReferenceData.PathOf(model), Path.GetDirectoryName(path)!);

        Compare(model, "beside its configurations", new ModelOptions { Model = path });
        var missing = new ModelOptions { ConfigFolder = files.PathOf("none") };
        WeightsTestFiles.Refused(() => ModelSource.Open(path, missing), "none", "no such folder");
    }

    [Theory]
    [MemberData(nameof(Models))]
    public void What_is_stored_without_use_is_named(string model)
    {
        var path = new SingleFileSample(model).Write(files.PathOf("m.safetensors"));
        using var source = ModelSource.Open(path, Options(model, path));
        TestContext.Current.TestOutputHelper?.WriteLine(string.Join(", ", source.Ignored));
        Assert.All(new[] { "alphas_cumprod", "betas", "model_ema.* (2)" }, name => Assert.Contains(name, source.Ignored));
        Assert.Equal("m", source.Name);
        Assert.Equal(FileHash.Sha256(files.PathOf("m.safetensors"))[..10], source.ShortHash);
    }

    [Theory]
    [InlineData("cond_stage_model.model.visual.proj", "belong to no part", "cond_stage_model.model.visual.proj")]
    [InlineData("model.diffusion_model.input_blocks.1.0.out_layers.4.weight", "belong to no part", "out_layers.4")]
    [InlineData("model.diffusion_model.input_blocks.1.1.proj_up.weight", "belong to no part", "down_blocks.0.attentions.0.proj_up")]
    [InlineData("surprise", "1 tensor(s) belong to no part", "surprise")]
    [InlineData("model.diffusion_model.scaled_fp8", "belong to no part", "scaled_fp8")]
    [InlineData("model.diffusion_model.input_blocks.1.1.proj_in.scale_weight", "belong to no part", "proj_in.scale_weight")]
    [InlineData("conditioner.embedders.1.model.ln_final.weight", "Stable Diffusion XL", "1.x and 2.x")]
    public void A_tensor_too_many_is_an_error(string name, params string[] parts)
    {
        var model = SingleFileSample.Models.First();
        var sample = new SingleFileSample(model);
        sample.Add(name, 3);
        var path = sample.Write(files.PathOf("model.safetensors"));
        WeightsTestFiles.Refused(
            () =>
            {
                using var opened = LoadedModel.Open(Options(model, path));
                opened.Describe();
            },
            [path, .. parts]);
    }

    [Fact]
    public void A_missing_part_or_another_file_is_an_error()
    {
        var model = SingleFileSample.Models.First();
        var sample = new SingleFileSample(model);
        foreach (var name in sample.Tensors.Keys.Where(n => n.StartsWith("first_stage_model.", StringComparison.Ordinal)).ToList())
        {
            sample.Tensors.Remove(name);
        }

        var path = sample.Write(files.PathOf("model.safetensors"));
        WeightsTestFiles.Refused(() => LoadedModel.Open(Options(model, path)), path, "holds no vae", "--vae");
        Compare(model, "its autoencoder from another file", Options(model, path) with
        {
            Vae = ReferenceData.PathOf(model, "vae", "diffusion_pytorch_model.safetensors"),
        });

        var unet = ReferenceData.PathOf(model, "unet", "diffusion_pytorch_model.safetensors");
        WeightsTestFiles.Refused(() => LoadedModel.Open(unet), unet, "is a unet alone", "--unet");
        const string Header = """{"lora_unet_x.alpha":{"dtype":"F16","shape":[],"data_offsets":[0,2]}}""";
        path = files.WriteSafetensors("lora.safetensors", Header, 0, 0);
        WeightsTestFiles.Refused(() => LoadedModel.Open(path), path, "holds no Stable Diffusion model");
    }

    /// <summary>Every form that a part comes in, each in the place of a part with other numbers.</summary>
    [Theory]
    [MemberData(nameof(Models))]
    public void Parts_come_from_files_of_their_own(string model)
    {
        var sample = new SingleFileSample(model);
        var whole = sample.Write(files.PathOf("whole.safetensors"));
        var folder = ReferenceData.PathOf(model);
        var options = new ModelOptions { Model = folder };
        foreach (var part in Enum.GetValues<ModelPart>())
        {
            var own = ReferenceData.PathOf(model, DiffusersFolder.FolderOf(part), $"{DiffusersFolder.WeightsOf(part)}.safetensors");
            foreach (var path in new[] { whole, Bare(part), own })
            {
                var given = part switch
                {
                    ModelPart.TextEncoder => options with { TextEncoder = path },
                    ModelPart.UNet => options with { UNet = path },
                    _ => options with { Vae = path },
                };
                Compare(model, $"{DiffusersFolder.FolderOf(part)} of {Path.GetFileName(path)}", given);
                using var source = ModelSource.Open(folder, given);
                using var weights = source.Open(part, []);
                Assert.Equal(path, weights.Description);
                Assert.Equal(Path.GetFileNameWithoutExtension(part == ModelPart.UNet ? path : folder), source.Name);
            }
        }

        WeightsTestFiles.Refused(() => ModelSource.Open(folder, options with { UNet = Bare(ModelPart.Vae) }), "holds no unet");
        WeightsTestFiles.Refused(() => ModelSource.Open(folder, options with { Vae = files.PathOf("none") }), "none", "cannot be read");

        string Bare(ModelPart part)
        {
            var prefix = part switch
            {
                ModelPart.UNet => "model.diffusion_model.",
                ModelPart.Vae => "first_stage_model.",
                _ when sample.Tensors.ContainsKey("cond_stage_model.model.ln_final.bias") => "cond_stage_model.model.",
                _ => "cond_stage_model.transformer.",
            };
            var alone = new SingleFileSample(model);
            foreach (var tensor in alone.Tensors.Values.ToList())
            {
                alone.Rename(tensor.Name, tensor.Name.StartsWith(prefix, StringComparison.Ordinal) ? tensor.Name[prefix.Length..] : null);
            }

            return alone.Write(files.PathOf($"bare-{part}.safetensors"));
        }
    }

    /// <summary>The UNet decides what is predicted, so what its own file says goes before the model's scheduler.</summary>
    [Fact]
    public void A_UNet_of_its_own_says_what_it_predicts()
    {
        var model = SingleFileSample.Models.First(m => Prediction(new ModelOptions { Model = ReferenceData.PathOf(m) }) == PredictionType.Epsilon);
        var sample = new SingleFileSample(model);
        sample.Add("v_pred", 0);
        var options = new ModelOptions { Model = ReferenceData.PathOf(model), UNet = sample.Write(files.PathOf("v.safetensors")) };
        Assert.Equal(PredictionType.V, Prediction(options));
        Assert.Equal(PredictionType.Epsilon, Prediction(options with { Prediction = PredictionType.Epsilon }));
        Assert.Equal(PredictionType.Epsilon, Prediction(options with { ConfigFolder = ReferenceData.PathOf(model) }));
        Assert.Equal(PredictionType.Epsilon, Prediction(options with { UNet = null, Vae = options.UNet }));

        static PredictionType Prediction(ModelOptions options)
        {
            using var opened = LoadedModel.Open(options);
            return opened.Schedule.Prediction;
        }
    }

    /// <summary>Lengths of safetensors headers that begin like a pickle and like a zip archive.</summary>
    [Theory]
    [InlineData(0x80)]
    [InlineData(0x280)]
    [InlineData('P' + ('K' << 8))]
    public void The_format_is_told_from_the_contents(int headerLength)
    {
        var header = """{"a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}""".PadRight(headerLength);
        using var file = WeightFile.Open(files.WriteSafetensors("model.ckpt", header, 0, 0));
        Assert.IsType<SafetensorsFile>(file);
        Assert.Equal(["a"], file.Tensors.Keys);
    }

    [Fact]
    public void Other_formats_are_named()
    {
        byte[] old = [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e];
        var path = files.Write("old.ckpt", old);
        WeightsTestFiles.Refused(() => ModelSource.Open(path), path);
        path = files.Write("text.safetensors", "version https://git-lfs.github.com/spec/v1");
        WeightsTestFiles.Refused(() => ModelSource.Open(path), path, "not a safetensors file");
        path = files.Write("broken.ckpt", "PK then nothing of an archive"u8.ToArray());
        WeightsTestFiles.Refused(() => ModelSource.Open(path), path);
    }

    /// <summary>PyTorch's own files in the place of the folder's; transformers calls its one differently.</summary>
    [Fact]
    public void A_folder_may_hold_PyTorch_files()
    {
        var model = SingleFileSample.Models.First();
        TemporaryFolder.CopyConfigs(ReferenceData.PathOf(model), files.PathOf("folder"));

        var sample = new SingleFileSample(model);
        const string Diffusers = "diffusion_pytorch_model";
        foreach (var (part, name) in new[] { ("text_encoder", "pytorch_model"), ("unet", Diffusers), ("vae", Diffusers) })
        {
            var own = new SingleFileSample(model);
            foreach (var (key, value) in sample.Map)
            {
                string[] names = SingleFileSample.Names(value);
                own.Rename(key, names is [var only] && only.StartsWith($"{part}/", StringComparison.Ordinal) ? only[(part.Length + 1)..] : null);
            }

            own.WriteTorch(files.PathOf("folder", part, $"{name}.bin"));
        }

        Compare(model, "folder of PyTorch files", new ModelOptions { Model = files.PathOf("folder") });
    }

    private static ModelOptions Options(string model, string path) => new() { Model = path, ConfigFolder = ReferenceData.PathOf(model) };

    /// <summary>All stored weights, bit for bit, in both types; the graphs' declarations are held against them on the way.</summary>
    private static void Compare(string model, string what, ModelOptions options)
    {
        using var folder = LoadedModel.Open(ReferenceData.PathOf(model));
        using var file = LoadedModel.Open(options);
        Assert.Equal(folder.Schedule.Prediction, file.Schedule.Prediction);
        Assert.Equal(folder.Tokenize("a cat"), file.Tokenize("a cat"));
        foreach (var part in Enum.GetValues<ModelPart>())
        {
            using var expected = folder.OpenWeights(part);
            using var actual = file.OpenWeights(part);
            var names = expected.Tensors.Keys.Where(n => n != WeightCheck.PositionIds).ToList();
            Assert.Equal(names.Order(), actual.Tensors.Keys.Where(n => n != WeightCheck.PositionIds).Order());
            var different = names.Count(n => !Same(expected, actual, n));
            ReferenceData.Report(
                $"{model}, {what}: {names.Count} tensors of {DiffusersFolder.FolderOf(part)}, tensors that differ", different, 0);
        }
    }

    private static bool Same(IWeightSource expected, IWeightSource actual, string name)
    {
        var info = expected.Tensors[name];
        var (a, b, x, y) = (new float[info.Count], new float[info.Count], new ushort[info.Count], new ushort[info.Count]);
        expected.Read(name, a);
        actual.Read(name, b);
        expected.Read(name, x);
        actual.Read(name, y);
        return info.Shape.SequenceEqual(actual.Tensors[name].Shape) && a.AsSpan().SequenceEqual(b) && x.AsSpan().SequenceEqual(y);
    }
}
