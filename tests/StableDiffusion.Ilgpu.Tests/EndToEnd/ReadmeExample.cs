#pragma warning disable IDE0005 // The using is part of what the README shows.
using StableDiffusion.Ilgpu;
#pragma warning restore IDE0005

namespace StableDiffusion.Ilgpu.Tests.EndToEnd;

/// <summary>What README.md shows under "The library", compiled; <see cref="ReadmeTests"/> holds the two against each other.</summary>
internal static class ReadmeExample
{
    public static GeneratedImage Run()
    {
        using var pipeline = StableDiffusionPipeline.Load();
        var request = new GenerationRequest
        {
            Prompt = "a rocket on a yellow background",
            Sampler = Samplers.DpmPlusPlus2M,
            Scheduler = Scheduler.Karras,
        };
        var image = pipeline.Generate(request)[0];
        image.Save("rocket.png");
        return image;
    }
}
