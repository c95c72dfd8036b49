using StableDiffusion.Ilgpu.Tests.EndToEnd;
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

    /// <summary>As convert_diffusers_to_original_stable_diffusion.py writes today's autoencoders.</summary>
    [Theory]
    [MemberData(nameof(Models))]
    public void The_autoencoders_attention_may_have_diffusers_layer_names(string model)
    {
        var sample = new SingleFileSample(model);
        var renamed = 0;
        foreach (var tensor in sample.Tensors.Values.Where(t => t.Name.Contains(".mid.attn_1.", StringComparison.Ordinal)).ToList())
        {
            var (layer, kind) = tensor.Name.Split('.') is [.., var l, var k] ? (l, k) : default;
            if (layer is "q" or "k" or "v" or "proj_out")
            {
                var stem = tensor.Name[..^(layer.Length + 1 + kind.Length)];
                var other = $"{stem}{(layer == "proj_out" ? "to_out.0" : $"to_{layer}")}.{kind}";
                sample.Rename(tensor.Name, other);
                sample.Tensors[other] = sample.Tensors[other] with { Shape = tensor.Shape.Length == 4 ? tensor.Shape[..2] : tensor.Shape };
                renamed++;
            }
        }

        Assert.Equal(16, renamed);
        Compare(model, "with the converter's attention", Options(model, sample.Write(files.PathOf("converted.safetensors"))));
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
        Assert.Equal(PullServer.Sha256(File.ReadAllBytes(files.PathOf("m.safetensors")))[..10], source.ShortHash);
    }

    [Theory]
    [InlineData("cond_stage_model.model.visual.proj", "belong to no part", "cond_stage_model.model.visual.proj")]
    [InlineData("model.diffusion_model.input_blocks.1.0.out_layers.4.weight", "belong to no part", "out_layers.4")]
    [InlineData("model.diffusion_model.input_blocks.1.1.proj_up.weight", "belong to no part", "down_blocks.0.attentions.0.proj_up")]
    [InlineData("surprise", "1 tensor(s) belong to no part", "surprise")]
    [InlineData("model.diffusion_model.scaled_fp8", "is fp8 with scales beside the weights")]
    [InlineData("model.diffusion_model.input_blocks.1.1.proj_in.scale_weight", "belong to no part", "proj_in.scale_weight")]
    [InlineData("conditioner.embedders.1.model.ln_final.weight", "is a Stable Diffusion XL model", "1.x and 2.x")]
    [InlineData("model.diffusion_model.label_emb.0.0.weight", "Stable Diffusion XL or another one with a second conditioning")]
    [InlineData("model.diffusion_model.time_embed.cond_proj.weight", "embedded guidance")]
    [InlineData("control_model.zero_convs.0.0.weight", "is a ControlNet")]
    [InlineData("depth_model.model.pretrained.cls_token", "guided by depth")]
    [InlineData("low_scale_model.betas", "enlarges pictures")]
    [InlineData("noise_augmentor.betas", "unCLIP")]
    [InlineData("model.diffusion_model.input_blocks.1.2.temporal_transformer.norm.weight", "is a motion module")]
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

    /// <summary>What converters leave in the names that they do not know.</summary>
    [Theory]
    [InlineData("cond_stage_model.transformer.text_projection.weight")]
    [InlineData("cond_stage_model.logit_scale")]
    [InlineData("cond_stage_model.model.transformer.text_model.embeddings.position_ids")]
    [InlineData("cond_stage_model.model.transformer.text_projection.weight")]
    public void Tensors_of_the_text_encoder_without_use_are_named(string name)
    {
        foreach (var model in SingleFileSample.Models)
        {
            var sample = new SingleFileSample(model);
            sample.Add(name, 3);
            var path = sample.Write(files.PathOf($"{model}.safetensors"));
            using var opened = LoadedModel.Open(Options(model, path));
            Assert.Contains(name, opened.Describe().Ignored);
            using var part = LoadedModel.Open(Options(model, path) with { TextEncoder = path });
            Assert.Contains(name, part.Describe().Ignored);
        }
    }

    /// <summary>A file of another kind is told by one of its tensors.</summary>
    [Theory]
    [InlineData("lora_unet_x.lora_up.weight", "is a LoRA", "--lora")]
    [InlineData("unet.x.lora_A.weight", "is a LoRA", "--lora")]
    [InlineData("lora_unet_x.hada_w1_a", "is a LoRA", "--lora")]
    [InlineData("emb_params", "is an embedding", "--embedding")]
    [InlineData("taesd_decoder.1.weight", "is a TAESD", "--taesd")]
    [InlineData("decoder.layers.0.weight", "is a TAESD", "--taesd")]
    [InlineData("model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight", "is a Stable Diffusion 3 model", "1.x and 2.x")]
    [InlineData("double_blocks.0.img_attn.qkv.weight", "is a Flux model", "1.x and 2.x")]
    [InlineData("transformer_blocks.0.attn.to_q.weight", "is a transformer", "1.x and 2.x")]
    [InlineData("conditioner.embedders.0.open_clip.model.ln_final.weight", "is a Stable Video Diffusion model", "1.x and 2.x")]
    [InlineData("down_blocks.0.0.channelwise.0.weight", "is a Stable Cascade model", "1.x and 2.x")]
    [InlineData("control_model.input_blocks.0.0.weight", "is a ControlNet")]
    [InlineData("controlnet_cond_embedding.conv_in.weight", "is a ControlNet")]
    [InlineData("ip_adapter.1.to_k_ip.weight", "is an IP-Adapter")]
    public void Files_of_other_kinds_are_called_by_their_kind(string tensor, params string[] parts)
    {
        var path = new TensorFiles().Add(tensor, [1], [0]).Write(files.PathOf("other.safetensors"));
        WeightsTestFiles.Refused(() => ModelSource.Open(path), [path, .. parts]);

        // What begins as a UNet's names in diffusers' naming do is held against the UNet that is declared.
        if (!tensor.StartsWith("down_blocks.", StringComparison.Ordinal))
        {
            var options = new ModelOptions { Model = ReferenceData.PathOf(SingleFileSample.Models.First()), UNet = path };
            WeightsTestFiles.Refused(() => ModelSource.Open(options.Model, options), [path, .. parts]);
        }
    }

    /// <summary>UNets that take pictures beside the latent in a way of their own.</summary>
    [Theory]
    [InlineData(5, "guided by depth")]
    [InlineData(7, "enlarges pictures")]
    [InlineData(8, "InstructPix2Pix")]
    [InlineData(6, "conv_in.weight")]
    public void UNets_of_other_channels_are_called_by_their_kind(int channels, string kind)
    {
        const string convolution = "model.diffusion_model.input_blocks.0.0.weight";
        var model = SingleFileSample.Models.First();
        var sample = new SingleFileSample(model);
        long[] shape = [sample.Tensors[convolution].Shape[0], channels, 3, 3];
        sample.Add(new TensorInfo(convolution, TensorType.F32, shape), new byte[4 * shape.Aggregate((a, b) => a * b)]);
        var path = sample.Write(files.PathOf("model.safetensors"));
        foreach (var options in new[] { Options(model, path), new ModelOptions { Model = ReferenceData.PathOf(model), UNet = path } })
        {
            WeightsTestFiles.Refused(
                () =>
                {
                    using var opened = LoadedModel.Open(options);
                    opened.Describe();
                },
                path, kind);
        }
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
        WeightsTestFiles.Refused(() => ModelSource.Open(path), path, "is a pointer of Git LFS");
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
