using System.Text.Json;
using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Models;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>The recorded models have the parameters of the published ones.</summary>
public sealed class GraphModelTests
{
    [Fact]
    public void UNet_of_sd15_has_its_known_size()
    {
        var graph = TestModels.UNet15();
        GraphCheck.Verify(graph);
        Assert.Equal(686, graph.Weights.Count);
        Assert.Equal(859_520_964, graph.Weights.Sum(Parameters));
        Assert.Equal(634, graph.Values.Count);
        Assert.Equal(32, graph.Values.Count(v => v is { Rate: Rate.Prompt, Op: not Input }));
        Assert.Equal(48, graph.Values.Count(v => v is { Rate: Rate.Schedule, Op: not Input }));
    }

    [Theory]
    [InlineData("unet")]
    [InlineData("te")]
    [InlineData("vae")]
    public void Weights_of_sd15_are_those_of_the_manifest(string component)
    {
        var graph = component switch
        {
            "unet" => TestModels.UNet15(),
            "te" => ClipText.Record(TestModels.Sd15Text, batch: 2),
            _ => AutoencoderKl.RecordDecoder(TestModels.Sd15Vae, batch: 1, height: 64, width: 64),
        };
        GraphCheck.Verify(graph);
        Assert.Equal(
            ReadManifest(component).Where(n => component != "vae" || !AutoencoderKl.IsEncoderWeight(n)).Order(),
            graph.Weights.Select(w => $"{w.Name} {string.Join('x', w.Shape)}").Order());
    }

    [Fact]
    public void Sizes_that_do_not_halve_evenly_come_out_again()
    {
        var graph = UNet.Record(TestModels.Sd15UNet, batch: 2, height: 9, width: 13, tokens: 77);
        GraphCheck.Verify(graph);
        Assert.Equal(new Shape(2, 9, 13, 4), graph.Outputs["out"].Shape);
    }

    private static long Parameters(Weight weight) => weight.Shape.Aggregate(1L, (a, b) => a * b);

    /// <summary>"name 320x4x3x3" of each weight of a component; a key is salt:model:component:name, and any text can be a salt.</summary>
    private static IEnumerable<string> ReadManifest(string component)
    {
        foreach (var line in File.ReadLines(ReferenceData.PathOf("synthetic", "sd15-manifest.jsonl")).Where(l => l.Length > 0))
        {
            using var json = JsonDocument.Parse(line);
            var key = json.RootElement.GetProperty("key").GetString()!.Split(':');
            if (key[^2] == component)
            {
                var shape = json.RootElement.GetProperty("shape").EnumerateArray().Select(e => e.GetInt64());
                yield return $"{key[^1]} {string.Join('x', shape)}";
            }
        }
    }
}
