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
}
