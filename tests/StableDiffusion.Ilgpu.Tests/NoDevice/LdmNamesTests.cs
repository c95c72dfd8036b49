using System.Text.Json;
using StableDiffusion.Ilgpu.Weights;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>
/// The rules for original names against the reference's key maps, and in both directions for the full-size models' names.
/// </summary>
[Trait("Kind", "Reference")]
public sealed class LdmNamesTests
{
    private static readonly Dictionary<ModelPart, string> Components = new()
    {
        [ModelPart.TextEncoder] = "te",
        [ModelPart.UNet] = "unet",
        [ModelPart.Vae] = "vae",
    };

    public static IEnumerable<TheoryDataRow<string>> Models => SingleFileSample.Models.Select(m => new TheoryDataRow<string>(m));

    public static IEnumerable<TheoryDataRow<string>> Manifests =>
        Directory.GetFiles(ReferenceData.PathOf("synthetic"), "*-manifest.jsonl")
            .Select(f => new TheoryDataRow<string>(Path.GetFileName(f)));

    [Theory]
    [MemberData(nameof(Models))]
    public void Every_key_of_the_map_means_what_the_map_says(string model)
    {
        var map = JsonSerializer.Deserialize<Dictionary<string, JsonElement>>(File.ReadAllBytes(SingleFileSample.MapOf(model)))!;
        var names = LdmNames.OfOriginal(map.Keys);
        var (counterparts, without, wrong) = (0, 0, new List<string>());
        foreach (var (key, value) in map)
        {
            string[] expected = SingleFileSample.Names(value);
            string[] found = names.ToDiffusers(key) is var (part, tensors)
                ? [.. tensors.Select(t => $"{DiffusersFolder.FolderOf(part)}/{t}")]
                : [];
            if (expected.Length > 0)
            {
                counterparts++;
            }
            else
            {
                // What the map leaves out is ignored by name, or is a tensor that the configuration does not have.
                without++;
                var isWithoutUse = LdmNames.IgnoredAs(key) is not null || key.EndsWith("position_ids", StringComparison.Ordinal)
                    || LdmNames.IsOpenClip(key);
                found = isWithoutUse ? [] : ["known"];
            }

            if (!expected.SequenceEqual(found))
            {
                wrong.Add($"{key}: {string.Join(", ", found)}; the map says {string.Join(", ", expected)}");
            }
        }

        ReferenceData.Report(
            $"{model} key map, {counterparts} keys with counterparts and {without} without, keys that differ", wrong.Count, 0);
        Assert.True(wrong.Count == 0, string.Join(Environment.NewLine, wrong.Take(5)));
    }

    [Theory]
    [MemberData(nameof(Models))]
    public void The_other_way_gives_the_maps_keys(string model)
    {
        var map = JsonSerializer.Deserialize<Dictionary<string, JsonElement>>(File.ReadAllBytes(SingleFileSample.MapOf(model)))!;
        var pairs = map.SelectMany(m => SingleFileSample.Names(m.Value), (m, name) => (m.Key, Path: name.Split('/', 2))).ToList();
        var names = LdmNames.OfDiffusers(Names("unet"), Names("vae"));
        var openClip = map.Keys.Any(LdmNames.IsOpenClip);
        var wrong = pairs.Count(p => names.ToOriginal(PartOf(p.Path[0]), p.Path[1], openClip) != p.Key);
        ReferenceData.Report($"{model} key map inverted, {pairs.Count} tensors, names that differ", wrong, 0);
        Assert.NotEmpty(pairs);

        IEnumerable<string> Names(string folder) => pairs.Where(p => p.Path[0] == folder).Select(p => p.Path[1]);

        static ModelPart PartOf(string folder) => Enum.GetValues<ModelPart>().Single(p => DiffusersFolder.FolderOf(p) == folder);
    }

    [Theory]
    [MemberData(nameof(Manifests))]
    public void Names_of_the_full_size_models_come_back(string manifest)
    {
        var stored = FullSizeNames.Of(manifest);
        var names = LdmNames.OfDiffusers(stored[ModelPart.UNet].Keys, stored[ModelPart.Vae].Keys);
        var openClip = manifest.StartsWith("sd21", StringComparison.Ordinal);
        var originals = stored
            .SelectMany(s => s.Value.Keys, (s, name) => (s.Key, Name: name, Original: names.ToOriginal(s.Key, name, openClip))).ToList();
        var back = LdmNames.OfOriginal(originals.Select(o => o.Original));
        var wrong = originals.Count(o => !(back.ToDiffusers(o.Original) is var (part, found) && part == o.Key && found.Contains(o.Name)));
        ReferenceData.Report($"{manifest}: {originals.Count} names to the original ones and back, names that differ", wrong, 0);
        Assert.All(Components.Keys, part => Assert.NotEmpty(stored[part]));
    }

    [Theory]
    [InlineData("model.diffusion_model.input_blocks.1.0.nonsense.weight")]
    [InlineData("model.diffusion_model.input_blocks.1.3.norm.weight")]
    [InlineData("model.diffusion_model.label_emb.0.0.weight")]
    [InlineData("first_stage_model.decoder.middle.weight")]
    [InlineData("cond_stage_model.model.visual.proj")]
    [InlineData("something.else")]
    public void Names_of_other_models_mean_nothing(string name)
    {
        Assert.Null(LdmNames.OfOriginal([name]).ToDiffusers(name));
        Assert.Null(LdmNames.IgnoredAs(name));
    }
}
