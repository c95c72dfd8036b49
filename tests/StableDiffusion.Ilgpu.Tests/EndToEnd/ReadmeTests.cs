using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EndToEnd;

/// <summary>The README's example is the code that the tests compile and run.</summary>
public sealed class ReadmeTests
{
    [Theory]
    [InlineData("README.md")]
    [InlineData("src/StableDiffusion.Ilgpu/README.md")]
    public void The_example_is_the_one_that_is_compiled(string readme)
    {
        var shown = Lines(Path.Combine(ReferenceData.Repository, readme))
            .SkipWhile(l => l != "```csharp").Skip(1).TakeWhile(l => l != "```").Where(l => l.Length > 0).ToList();
        var compiled = Lines(Path.Combine(ReferenceData.Repository, "tests", "StableDiffusion.Ilgpu.Tests", "EndToEnd", "ReadmeExample.cs"))
            .Where(l => l.Length > 0).ToHashSet();
        Assert.InRange(shown.Count, 5, 12);
        Assert.All(shown, line => Assert.Contains(line, compiled));
    }

    [Fact]
    public void The_example_draws_a_picture_of_the_models_own_size()
    {
        var image = ReadmeExample.Run();
        Assert.True(File.Exists("rocket.png"));
        File.Delete("rocket.png");
        Assert.Contains("Sampler: DPM++ 2M, Schedule type: Karras", image.Parameters, StringComparison.Ordinal);

        // A rocket on yellow: the corner is background.
        var corner = image.Pixels.Span[..3];
        Assert.True(corner[0] > 180 && corner[1] > 150 && corner[2] < 140, $"corner {corner[0]}, {corner[1]}, {corner[2]} is not yellow");
    }

    private static IEnumerable<string> Lines(string path) => File.ReadLines(path).Select(l => l.Trim());
}
