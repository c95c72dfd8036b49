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
    public void Messages_have_a_point_and_a_hyphen_in_any_culture()
    {
        using var culture = new OtherCulture();
        var request = new GenerationRequest { Prompt = "" };
        foreach (var (wrong, message) in new[]
        {
            (request with { VaeTileOverlap = 0.75 }, "VAE tile overlap 0.75 cannot be used; valid: 0 to 0.5"),
            (request with { Strength = 1.5 }, "strength 1.5 cannot be used; valid: 0 to 1"),
            (request with { Eta = 1.5 }, "eta 1.5: choose 0 to 1"),
            (request with { Hires = new() { Scale = 0.5 } }, "hires scale 0.5 cannot be used; valid: 1 to 16"),
            (request with { Hires = new() { DenoisingStrength = 1.5 } }, "hires denoising strength 1.5 cannot be used; valid: above 0, up to 1"),
            (request with { Hires = new() { Steps = -1 } }, "hires steps -1 cannot be used; valid: 1 or more"),
            (request with { Width = -8 }, "width -8 cannot be used; valid: multiples of 8, from 8 to "),
            (request with { Steps = -2 }, "steps -2 cannot be used; valid: 1 or more"),
            (request with { BatchCount = -3 }, "batch count -3 cannot be used; valid: 1 or more"),
            (request with { PreviewInterval = -4 }, "preview interval -4 cannot be used; valid: "),
            (request with { Scheduler = (Scheduler)(-5) }, "unknown scheduler -5; valid: "),
            (request with { ResizeMode = (ResizeMode)(-6) }, "unknown resize mode -6; valid: "),
            (request with { MaskBlur = -7 }, "mask blur -7 cannot be used; valid: "),
        })
        {
            Assert.StartsWith(message, Assert.Throws<StableDiffusionException>(wrong.Validate).Message, StringComparison.Ordinal);
        }

        Assert.StartsWith("a picture of -1x-2 pixels", Assert.Throws<StableDiffusionException>(() => new InputImage(-1, -2, [])).Message, StringComparison.Ordinal);
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
