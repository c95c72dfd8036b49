using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Models;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>All rules together on the models.</summary>
public sealed class RulesModelTests(ITestOutputHelper output)
{
    [Fact]
    public void UNet_of_sd15_fuses_completely()
    {
        var graph = TestModels.UNet15();
        FusionRules.Apply(graph, FusionOptions.All);
        GraphCheck.Verify(graph);

        var contractions = graph.Values.Where(v => v.Op is Contraction).ToArray();
        var merged = contractions.Where(v => Op(v).Siblings.Count > 0).ToLookup(v => v.Rate);
        var attention = Assert.Single(merged[Rate.Prompt]);
        Assert.Equal((32, 24_960), (Op(attention).Parts.Count(), attention.C));
        var time = Assert.Single(merged[Rate.Schedule]);
        Assert.Equal((22, 20_160), (Op(time).Parts.Count(), time.C));
        Assert.Equal(16, merged[Rate.Step].Count());
        Assert.All(merged[Rate.Step], v => Assert.Equal(3, Op(v).Parts.Count()));

        Assert.DoesNotContain(graph.Values, v => v.Op is Add or Activate or Geglu or Resize);
        Assert.Equal(16, contractions.Count(v => Op(v).Geglu));
        Assert.Equal(22, contractions.Count(v => Op(v).HasItemBias));
        Assert.Equal(3, contractions.Count(v => Op(v).ResizeTo is not null));
        Assert.Equal(2, contractions.Count(v => Op(v).Activation == Activation.Silu));

        // 22 residual blocks; 3 sums and the outer one in each of 16 transformers.
        Assert.Equal(22 + (16 * 4), contractions.Count(v => Op(v).HasResidual));
        Assert.Equal(45, graph.Values.Count(v => v.Op is GroupNorm { Silu: true }));
        Assert.Equal(16, graph.Values.Count(v => v.Op is GroupNorm { Silu: false }));

        var placement = Placement.Create(graph, FusionOptions.All);
        var counts = Enum.GetValues<Rate>().Select(r => placement.Launches(r).Count).ToArray();
        output.WriteLine($"launches a prompt, schedule, step: {string.Join(", ", counts)}");
        Assert.Equal([1, 4], counts[..2]);

        static Contraction Op(Value value) => (Contraction)value.Op;
    }

    [Fact]
    public void Text_encoder_and_decoder_of_sd15_fuse_completely()
    {
        var text = ClipText.Record(TestModels.Sd15Text, batch: 2);
        FusionRules.Apply(text, FusionOptions.All);
        GraphCheck.Verify(text);

        // A layer: norm, Q/K/V, attention, projection, norm, two linear layers.
        Assert.Equal(1 + 1 + (12 * 7) + 1, text.Values.Count(v => v.Op is not Slice));

        var vae = AutoencoderKl.RecordDecoder(TestModels.Sd15Vae, batch: 1, height: 64, width: 64);
        FusionRules.Apply(vae, FusionOptions.All);
        GraphCheck.Verify(vae);
        Assert.DoesNotContain(vae.Values, v => v.Op is Add or Activate or Resize);
        Assert.Equal(3, vae.Values.Count(v => v.Op is Contraction { ResizeTo: not null }));
    }

    [Fact]
    public void Any_choice_of_rules_keeps_weights_outputs_and_rates()
    {
        foreach (var (name, options) in TestModels.Options())
        {
            foreach (var (graph, before) in TestModels.SmallGraphs().Append(TestModels.UNet15())
                .Zip(TestModels.SmallGraphs().Append(TestModels.UNet15())))
            {
                FusionRules.Apply(graph, options);
                GraphCheck.Verify(graph);
                Assert.Equal(before.Weights.Select(w => w.Name).Order(), graph.Weights.Select(w => w.Name).Order());
                Assert.Equal(before.Outputs.Select(o => (o.Key, o.Value.Shape)), graph.Outputs.Select(o => (o.Key, o.Value.Shape)));

                // What is computed seldom stays so: no weight moves to a faster program.
                Assert.Equal(Rates(before), Rates(graph));
                if (name == "none")
                {
                    Assert.Equal(before.Values.Count, graph.Values.Count);
                }
            }
        }

        static IEnumerable<(string, Rate)> Rates(Graph graph) =>
            graph.Values.SelectMany(v => v.Op.Weights.Select(w => (w.Name, v.Rate))).Order();
    }
}
