using System.Globalization;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>What a request refuses without a model.</summary>
public sealed class GenerationRequestTests
{
    [Fact]
    public void A_request_refuses_numbers_that_no_name_stands_for()
    {
        var request = new GenerationRequest { Prompt = "" };
        foreach (var (wrong, message) in new[]
        {
            (request with { Scheduler = (Scheduler)99 }, $"unknown scheduler 99; valid: {string.Join(", ", Enum.GetNames<Scheduler>())}"),
            (request with { NoiseGenerator = (NoiseGenerator)9 }, "unknown noise generator 9; valid: Cuda, Cpu"),
            (request with { PromptWeighting = (PromptWeighting)9 }, "unknown prompt weighting 9; valid: None, Plain, A1111"),
            (request with { PreviewMethod = (PreviewMethod)9 }, "unknown preview method 9; valid: Linear, TinyAutoencoder, Autoencoder"),
            (request with { Hires = new() { Upscaler = (HiresUpscaler)9 } }, "unknown hires upscaler 9; valid: Latent, LatentNearest, Lanczos, Nearest"),
        })
        {
            Assert.Equal(message, Assert.Throws<StableDiffusionException>(wrong.Validate).Message);
        }
    }

    /// <summary>Programs have cultures, and messages are English.</summary>
    [Fact]
    public void Messages_have_a_decimal_point_in_any_culture()
    {
        var before = CultureInfo.CurrentCulture;
        var culture = (CultureInfo)CultureInfo.InvariantCulture.Clone();
        culture.NumberFormat.NumberDecimalSeparator = ",";
        var request = new GenerationRequest { Prompt = "" };
        try
        {
            CultureInfo.CurrentCulture = culture;
            foreach (var (wrong, message) in new[]
            {
                (request with { VaeTileOverlap = 0.75 }, "VAE tile overlap 0.75 cannot be used; valid: 0 to 0.5"),
                (request with { Strength = 1.5 }, "strength 1.5 cannot be used; valid: 0 to 1"),
                (request with { Eta = 1.5 }, "eta 1.5: choose 0 to 1"),
                (request with { Hires = new() { Scale = 0.5 } }, "hires scale 0.5 cannot be used; valid: 1 to 16"),
                (request with { Hires = new() { DenoisingStrength = 1.5 } }, "hires denoising strength 1.5 cannot be used; valid: above 0, up to 1"),
            })
            {
                Assert.Equal(message, Assert.Throws<StableDiffusionException>(wrong.Validate).Message);
            }
        }
        finally
        {
            CultureInfo.CurrentCulture = before;
        }
    }

    [Fact]
    public void A_request_refuses_what_is_not_there()
    {
        var request = new GenerationRequest { Prompt = "" };
        foreach (var (wrong, name) in new[]
        {
            (request with { Prompt = null! }, "prompt"),
            (request with { NegativePrompt = null! }, "negative prompt"),
            (request with { Sampler = null! }, "sampler"),
        })
        {
            Assert.Equal($"the {name} is null", Assert.Throws<StableDiffusionException>(wrong.Validate).Message);
        }
    }

    /// <summary>Pixels may come in any size; one that is drawn has a limit, whoever chose it.</summary>
    [Fact]
    public void A_picture_that_is_too_large_needs_another_size()
    {
        var wide = new InputImage(1 << 15, 1, new byte[3 << 15]);
        var request = new GenerationRequest { Prompt = "", InitImage = wide };
        Assert.Equal(
            "a picture to begin with of 32768x1 pixels cannot be drawn in its own size; valid: up to 16384 a side",
            Assert.Throws<StableDiffusionException>(request.Validate).Message);
        (request with { Width = 64 }).Validate();
    }

    [Fact]
    public void Model_options_refuse_what_names_no_file()
    {
        var options = new ModelOptions();
        foreach (var (wrong, message) in new[]
        {
            (options with { Loras = null! }, "the list of LoRA files is null; valid: an empty one, too"),
            (options with { Embeddings = null! }, "the list of embedding files is null; valid: an empty one, too"),
            (options with { Loras = [null!] }, "LoRA: the file's name is empty"),
            (options with { Embeddings = [""] }, "embedding: the file's name is empty"),
            (options with { UNet = "" }, "UNet: the file's name is empty"),
            (options with { TextEncoder = "" }, "text encoder: the file's name is empty"),
            (options with { Vae = "" }, "VAE: the file's name is empty"),
            (options with { ConfigFolder = "" }, "configuration folder: the file's name is empty"),
            (options with { Taesd = "" }, "TAESD: the file's name is empty"),
            (options with { PreviewTaesd = "" }, "preview TAESD: the file's name is empty"),
            (options with { KernelCache = "" }, "kernel cache: the file's name is empty"),
            (options with { Prediction = (PredictionType)9 }, "unknown prediction type 9; valid: Epsilon, V"),
        })
        {
            Assert.Equal(message, Assert.Throws<StableDiffusionException>(() => LoadedModel.Open(wrong)).Message);
        }
    }

    [Fact]
    public void A_bundled_model_that_is_not_there_is_told_as_such()
    {
        using var folder = new TemporaryFolder();
        Assert.Equal(folder.Path, LoadedModel.RequireBundled(folder.Path));
        var e = Assert.Throws<StableDiffusionException>(() => LoadedModel.RequireBundled(folder["none"]));
        Assert.StartsWith($"the bundled model is not there ({folder["none"]})", e.Message, StringComparison.Ordinal);
    }
}
