using StableDiffusion.Ilgpu.Sampling;
using StableDiffusion.Ilgpu.Weights;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Full-size single files without contents: which published model they are taken for, and that its graphs fit them.</summary>
[Trait("Kind", "Reference")]
public sealed class ModelVariantTests : IDisposable
{
    private const string TellingTensor = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias";

    private readonly WeightsTestFiles files = new();

    public void Dispose() => files.Dispose();

    [Fact]
    public void Stable_Diffusion_1()
    {
        using var model = LoadedModel.Open(Write("sd15", 4));
        Check(model, "Stable Diffusion 1.x (ε-prediction)", PredictionType.Epsilon, 64, "quick_gelu", 12, 8, 49407);
    }

    [Fact]
    public void Stable_Diffusion_1_inpainting()
    {
        using var model = LoadedModel.Open(Write("sd15", 9));
        Check(model, "Stable Diffusion 1.x inpainting (ε-prediction)", PredictionType.Epsilon, 64, "quick_gelu", 12, 8, 49407);
        Assert.True(model.IsInpainting);
    }

    [Fact]
    public void Stable_Diffusion_2_base()
    {
        var path = Write("sd21", 4);

        // What tells is how far they lie apart, wherever they lie.
        FullSizeNames.Fill(path, TellingTensor, i => i % 2 == 0 ? 0.58f : 0.42f);
        using var model = LoadedModel.Open(path);
        Check(model, "Stable Diffusion 2.x base (ε-prediction)", PredictionType.Epsilon, 64, "gelu", 23, 5, 0);
    }

    /// <summary>The last of OpenCLIP's 24 layers, which conversion from a folder leaves out, is not needed.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Stable_Diffusion_2_with_v_prediction(bool withLastLayer)
    {
        var path = Write("sd21", 4, withLastLayer);
        FullSizeNames.Fill(path, TellingTensor, i => i % 2 == 0 ? 0.1f : -0.1f);
        using var model = LoadedModel.Open(path);
        Check(model, "Stable Diffusion 2.x 768 (v-prediction)", PredictionType.V, 96, "gelu", 23, 5, 0);
    }

    [Fact]
    public void Stable_Diffusion_2_inpainting()
    {
        using var model = LoadedModel.Open(Write("sd21", 9));
        Check(model, "Stable Diffusion 2.x inpainting (ε-prediction)", PredictionType.Epsilon, 64, "gelu", 23, 5, 0);
    }

    [Fact]
    public void Turbo_by_its_form_of_names()
    {
        var tensors = Tensors("sd21", 4, true).Select(t => t with
        {
            Name = t.Name.Replace("cond_stage_model.model.", "conditioner.embedders.0.model.", StringComparison.Ordinal),
        });
        var path = FullSizeNames.WriteSparse(files.PathOf("turbo.safetensors"), tensors);
        using (var model = LoadedModel.Open(path))
        {
            Check(model, "SD-Turbo (ε-prediction)", PredictionType.Epsilon, 64, "gelu", 23, 5, 0);
        }

        // Turbo has ε-prediction: another model in this form of names may have v.
        using var other = LoadedModel.Open(new ModelOptions { Model = path, Prediction = PredictionType.V });
        Check(other, "Stable Diffusion 2.x 768 (v-prediction)", PredictionType.V, 96, "gelu", 23, 5, 0);
    }

    /// <summary>The text encoder tells 1.x from 2.x where the UNet lies in another file.</summary>
    [Theory]
    [InlineData("sd15", 12, 49407)]
    [InlineData("sd21", 23, 0)]
    public void A_file_without_a_UNet(string name, int layers, int padding)
    {
        var (whole, rest) = (Write(name, 4), files.PathOf("rest.safetensors"));
        FullSizeNames.WriteSparse(rest, Tensors(name, 4, true).Where(t => !t.Name.StartsWith("model.diffusion_model.", StringComparison.Ordinal)));
        using var model = LoadedModel.Open(new ModelOptions { Model = rest, UNet = whole });
        Assert.Equal((layers, padding), (model.TextConfig.Layers, model.Tokenize("")[^1]));
        Assert.Equal(3, model.Describe().Components.Count);
    }

    /// <summary>In this order: the option, the metadata, the folder that the file lies in, the weights.</summary>
    [Fact]
    public void What_tells_the_prediction()
    {
        var path = FullSizeNames.WriteSparse(
            files.PathOf("m.safetensors"), Tensors("sd21", 4, true),
            new Dictionary<string, string> { ["modelspec.prediction_type"] = "v" });
        Assert.Equal(PredictionType.V, Prediction(path, null));
        Assert.Equal(PredictionType.Epsilon, Prediction(path, PredictionType.Epsilon));

        // All zeros, so the weights say ε.
        path = FullSizeNames.WriteSparse(path, Tensors("sd21", 4, true));
        Assert.Equal(PredictionType.Epsilon, Prediction(path, null));
        Assert.Equal(PredictionType.V, Prediction(path, PredictionType.V));
        TemporaryFolder.CopyConfigs(ReferenceData.PathOf("tiny-sd21"), files.Folder);
        Assert.Equal(PredictionType.V, Prediction(path, null));

        // Of 1.x models there is no published one with v, but others' are, and the folder says so of them too.
        Assert.Equal(PredictionType.V, Prediction(Write("sd15", 4), null));
        path = FullSizeNames.WriteSparse(Directory.CreateDirectory(files.PathOf("alone")).FullName + "/m.safetensors", Tensors("sd15", 4, true));
        Assert.Equal(PredictionType.Epsilon, Prediction(path, null));
        Assert.Equal(PredictionType.V, Prediction(path, PredictionType.V));
    }

    /// <summary>What a file says counts for every variant: its marks, then ModelSpec's word, then ComfyUI's; other words say nothing.</summary>
    [Theory]
    [InlineData("sd15", 4, "modelspec.prediction_type=v", "", PredictionType.V, false)]
    [InlineData("sd15", 4, "modelspec.prediction_type=v_prediction", "", PredictionType.V, false)]
    [InlineData("sd15", 9, "modelspec.predict_key=v", "", PredictionType.V, false)]
    [InlineData("sd21", 9, "modelspec.predict_key=v", "", PredictionType.V, false)]
    [InlineData("sd21", 4, "modelspec.predict_key=v", "ztsnr", PredictionType.V, true)]
    [InlineData("sd21", 4, "modelspec.predict_key=epsilon", "", PredictionType.Epsilon, false)]
    [InlineData("sd15", 4, "modelspec.prediction_type=epsilon", "v_pred", PredictionType.V, false)]
    [InlineData("sd15", 4, "modelspec.prediction_type=epsilon,modelspec.predict_key=v", "", PredictionType.Epsilon, false)]
    [InlineData("sd15", 4, "", "v_pred,ztsnr", PredictionType.V, true)]
    [InlineData("sd15", 4, "modelspec.prediction_type=sample", "", PredictionType.Epsilon, false)]
    public void What_a_file_says_of_itself(string model, int channels, string metadata, string marks, PredictionType expected, bool zeroSnr)
    {
        var tensors = Tensors(model, channels, true);
        tensors.AddRange(Split(marks).Select(name => new TensorInfo(name, TensorType.F32, name == "v_pred" ? [0] : [])));
        var texts = Split(metadata).Select(pair => pair.Split('=')).ToDictionary(pair => pair[0], pair => pair[1]);
        var path = FullSizeNames.WriteSparse(files.PathOf("m.safetensors"), tensors, texts);
        using (var opened = LoadedModel.Open(path))
        {
            Assert.Equal((expected, zeroSnr), (opened.Schedule.Prediction, opened.Schedule.Alpha(999) == 0));
            var info = opened.Describe();
            Assert.StartsWith(model == "sd15" ? "Stable Diffusion 1.x" : "Stable Diffusion 2.x", info.Variant, StringComparison.Ordinal);
            Assert.EndsWith(expected == PredictionType.V ? "(v-prediction)" : "(ε-prediction)", info.Variant, StringComparison.Ordinal);
            Assert.Equal(channels == 9, opened.IsInpainting);
            Assert.DoesNotContain("v_pred", info.Ignored);
        }

        Assert.Equal(PredictionType.Epsilon, Prediction(path, PredictionType.Epsilon));
        Assert.Equal(PredictionType.V, Prediction(path, PredictionType.V));

        static string[] Split(string list) => list.Split(',', StringSplitOptions.RemoveEmptyEntries);
    }

    /// <summary>The scheduler that conversion to a file has put into its metadata, for sizes that take a published one otherwise.</summary>
    [Fact]
    public void A_scheduler_in_the_metadata_takes_the_published_ones_place()
    {
        const string Config = """{"beta_schedule":"scaled_linear","beta_start":0.001,"beta_end":0.01,"prediction_type":"v_prediction","rescale_betas_zero_snr":true,"timestep_spacing":"trailing","steps_offset":3}""";
        var expected = NoiseSchedule.Parse(System.Text.Json.JsonElement.Parse(Config), "expected");
        using (var model = Open(Config))
        {
            ScheduleCheck.AssertSame(expected, model.Schedule);
        }

        WeightsTestFiles.Refused(() => Open("{"), "m.safetensors: sdilgpu.scheduler_config", "not valid JSON");
        WeightsTestFiles.Refused(() => Open("""{"prediction_type":"sample"}"""), "m.safetensors: sdilgpu.scheduler_config", "prediction_type is sample");
        WeightsTestFiles.Refused(() => Open($"{{{new string(' ', 1 << 18)}}}"), "m.safetensors: sdilgpu.scheduler_config", "262146 letters");

        LoadedModel Open(string config) => LoadedModel.Open(FullSizeNames.WriteSparse(
            files.PathOf("m.safetensors"), Tensors("sd15", 4, true), new Dictionary<string, string> { ["sdilgpu.scheduler_config"] = config }));
    }

    [Fact]
    public void Sizes_of_no_published_model_need_configurations()
    {
        var tensors = Tensors("sd15", 6, true);
        var path = FullSizeNames.WriteSparse(files.PathOf("six.safetensors"), tensors);
        WeightsTestFiles.Refused(() => LoadedModel.Open(path), path, "unet: 6 to 4 channels by way of 320, 640, 1280, 1280", "--config");
    }

    [Fact]
    public void Every_variant_can_be_synthesised()
    {
        foreach (var variant in ModelVariant.All)
        {
            using var model = LoadedModel.Open($"synthetic:{variant.Id}");
            Assert.Equal(variant.Prediction, model.Schedule.Prediction);
            Assert.StartsWith(variant.Title, model.Describe().Variant, StringComparison.Ordinal);
        }
    }

    private static PredictionType Prediction(string path, PredictionType? given)
    {
        using var model = LoadedModel.Open(new ModelOptions { Model = path, Prediction = given });
        return model.Schedule.Prediction;
    }

    private static void Check(
        LoadedModel model, string variant, PredictionType prediction, int sampleSize, string activation, int layers, int heads, int padding)
    {
        // Describing opens all weights, which holds every name and shape against the graphs.
        var info = model.Describe();
        Assert.Equal(variant, info.Variant);
        Assert.Equal(prediction, model.Schedule.Prediction);
        Assert.Equal((sampleSize, heads), (model.UNetConfig.SampleSize, model.UNetConfig.Heads[0]));
        Assert.Equal((activation, layers), (model.TextConfig.Activation, model.TextConfig.Layers));
        Assert.Equal(padding, model.Tokenize("")[^1]);
        Assert.Contains("single file", info.Layout, StringComparison.Ordinal);
    }

    private string Write(string model, int channels, bool withLastLayer = true) =>
        FullSizeNames.WriteSparse(files.PathOf($"{model}-{channels}.safetensors"), Tensors(model, channels, withLastLayer));

    /// <summary>A full-size model's tensors in the original naming, with what such files have beside them.</summary>
    private static List<TensorInfo> Tensors(string model, int channels, bool withLastLayer)
    {
        var parts = FullSizeNames.Of($"{model}-manifest.jsonl");
        var input = parts[ModelPart.UNet]["conv_in.weight"];
        parts[ModelPart.UNet]["conv_in.weight"] = input with { Shape = [input.Shape[0], channels, 3, 3] };
        var openClip = model == "sd21";
        var tensors = FullSizeNames.Original(parts, openClip).Values.ToList();
        if (openClip && withLastLayer)
        {
            tensors.AddRange(tensors.Where(t => t.Name.Contains(".resblocks.22.", StringComparison.Ordinal))
                .Select(t => t with { Name = t.Name.Replace(".22.", ".23.", StringComparison.Ordinal) }).ToList());
            tensors.Add(new TensorInfo("cond_stage_model.model.text_projection", TensorType.F16, [1024, 1024]));
            tensors.Add(new TensorInfo("cond_stage_model.model.logit_scale", TensorType.F32, []));
        }

        tensors.Add(new TensorInfo("alphas_cumprod", TensorType.F32, [1000]));
        tensors.Add(new TensorInfo("model_ema.diffusion_modelout2weight", TensorType.F32, [4, 320, 3, 3]));
        return tensors;
    }
}
