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
        FullSizeNames.Fill(path, TellingTensor, i => i % 2 == 0 ? 0.08f : -0.08f);
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
        using var model = LoadedModel.Open(FullSizeNames.WriteSparse(files.PathOf("turbo.safetensors"), tensors));
        Check(model, "SD-Turbo (ε-prediction)", PredictionType.Epsilon, 64, "gelu", 23, 5, 0);
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

        // Of 1.x models there is no published one with v, but others' are.
        path = Write("sd15", 4);
        Assert.Equal(PredictionType.Epsilon, Prediction(path, null));
        Assert.Equal(PredictionType.V, Prediction(path, PredictionType.V));

        static PredictionType Prediction(string path, PredictionType? given)
        {
            using var model = LoadedModel.Open(new ModelOptions { Model = path, Prediction = given });
            return model.Schedule.Prediction;
        }
    }

    [Fact]
    public void Sizes_of_no_published_model_need_configurations()
    {
        var tensors = Tensors("sd15", 5, true);
        var path = FullSizeNames.WriteSparse(files.PathOf("depth.safetensors"), tensors);
        WeightsTestFiles.Refused(() => LoadedModel.Open(path), path, "unet: 5 to 4 channels by way of 320, 640, 1280, 1280", "--config");
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
