using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Names the parts of a reference set that no test reads. What is left out within a part is named by its test.</summary>
[Trait("Kind", "Reference")]
public sealed class ReferencePartsTests
{
    private static readonly string[] Read = ["clip-tokenizer", "ops", "prompts", "rng", "schedulers", "synthetic"];

    [Fact]
    public void Parts_that_nothing_reads_are_named()
    {
        var parts = Directory.GetDirectories(ReferenceData.Folder).Select(f => Path.GetFileName(f)).Order(StringComparer.Ordinal).ToArray();
        foreach (var part in parts.Where(p => !Read.Contains(p) && !p.StartsWith("tiny-", StringComparison.Ordinal)))
        {
            ReferenceData.LeaveOut(part, "no test reads it");
        }

        // A set with the usual layout has them all.
        Assert.All(Read, part => Assert.Contains(part, parts));
    }
}
