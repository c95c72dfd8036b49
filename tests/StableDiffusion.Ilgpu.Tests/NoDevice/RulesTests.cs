using StableDiffusion.Ilgpu.Compilation.Rules;
using StableDiffusion.Ilgpu.Graphs;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Each rule alone on small graphs: where it fires, what it leaves, and where it must not fire.</summary>
public sealed class RulesTests
{
    private readonly Graph graph = new("test");
    private readonly Scope s;
    private readonly Value x;

    public RulesTests()
    {
        s = new Scope(graph);
        x = graph.Input("x", new Shape(2, 4, 4, 32), ElementType.Activation, Rate.Step);
    }

    private string Ops => string.Join(' ', graph.Values.Select(v => v.Op.Name));

    [Fact]
    public void DropDuplicates_computes_equal_values_once()
    {
        var (a, b) = ((s / "a").Linear(x.Silu().Silu(), 8), (s / "b").Linear(x.Silu().Silu(), 8));
        graph.Output("out", a + b);
        Apply(DropDuplicates.Apply);
        Assert.Equal("Input Silu Silu Linear Linear Add", Ops);
    }

    [Fact]
    public void DropDuplicates_compares_weights_by_content()
    {
        graph.Output("out", (s / "a").Linear(x, 8) + (s / "a").Linear(x, 8));
        graph.Output("other", (s / "a").Linear(x, 9));
        Apply(DropDuplicates.Apply);
        Assert.Equal("Input Linear Add Linear", Ops);
    }

    [Fact]
    public void DropDuplicates_keeps_outputs()
    {
        graph.Output("one", x.Silu());
        graph.Output("two", x.Silu());
        graph.Output("three", x.Silu().Silu());
        Apply(DropDuplicates.Apply);
        Assert.Equal("Input Silu Silu Silu", Ops);
        Assert.Equal(3, graph.Outputs.Values.Distinct().Count());
    }

    [Fact]
    public void MergeSiblings_slices_one_layer_in_order()
    {
        var q = (s / "q").Linear(x, 32, bias: false);
        var k = (s / "k").Linear(x, 16);
        var early = q.Silu();
        var v = (s / "v").Conv(x, 16, kernel: 1);
        graph.Output("out", early.Concat(k).Concat(v));
        Apply(MergeSiblings.Apply);

        Assert.Equal("Input Linear Slice Slice Silu Slice Concat Concat", Ops);
        var op = (Contraction)graph.Values[1].Op;
        Assert.Equal(64, op.Columns);
        Assert.Equal(["q.weight", "k.weight", "v.weight"], op.Parts.Select(p => p.Kernel.Name));
        Assert.Equal([null, "k.bias", "v.bias"], op.Parts.Select(p => p.Bias?.Name));
        Assert.Equal([new Slice(0, 32), new Slice(32, 16), new Slice(48, 16)], new[] { q, k, v }.Select(i => i.Op));
        Assert.All([q, k, v], i => Assert.Same(graph.Values[1], i.Inputs[0]));
        Assert.Same(k, graph.Names["k"]);
    }

    [Fact]
    public void MergeSiblings_leaves_convolutions_outputs_and_single_layers()
    {
        var a = (s / "a").Linear(x, 32);
        graph.Output("a", a);
        graph.Output("strided", (s / "e").Conv(x, 32, kernel: 1, stride: 2).Silu());
        graph.Output("out", (s / "b").Conv(x, 32) + (s / "c").Conv(x, 64, kernel: 1, stride: 1).Geglu() + (s / "d").Linear(a, 32));
        AssertUnchanged(MergeSiblings.Apply);
    }

    [Fact]
    public void FoldResize_moves_into_all_readers()
    {
        var large = x.Resize(7, 9);
        graph.Output("out", (s / "a").Conv(large, 8) + (s / "b").Conv(large, 8));
        Apply(FoldResize.Apply);
        Assert.Equal("Input Conv Conv Add", Ops);
        Assert.All(graph.Values.Where(v => v.Op is Contraction), v => Assert.Equal((7, 9), ((Contraction)v.Op).ResizeTo));
    }

    [Theory]
    [InlineData("output")]
    [InlineData("pointwise reader")]
    [InlineData("other reader")]
    public void FoldResize_keeps_a_picture_that_is_needed(string why)
    {
        var large = x.Resize(8, 8);
        var y = (s / "a").Conv(large, 32);
        graph.Output("out", why switch
        {
            "pointwise reader" => y + (s / "b").Conv(large, 32, kernel: 1),
            "other reader" => y + large,
            _ => y,
        });
        if (why == "output")
        {
            graph.Output("large", large);
        }

        AssertUnchanged(FoldResize.Apply);
    }

    [Fact]
    public void FuseGeglu_halves_the_columns()
    {
        graph.Output("out", (s / "a").Linear(x, 64).Geglu());
        Apply(FuseGeglu.Apply);
        Assert.Equal("Input Linear", Ops);
        Assert.True(((Contraction)graph.Outputs["out"].Op).Geglu);
        Assert.Equal(32, graph.Outputs["out"].C);
    }

    [Theory]
    [InlineData(64, true)]
    [InlineData(48, false)]
    public void FuseGeglu_needs_a_single_use_and_whole_panels(int columns, bool twice)
    {
        var h = (s / "a").Linear(x, columns);
        graph.Output("out", h.Geglu());
        if (twice)
        {
            graph.Output("other", h.Silu());
        }

        AssertUnchanged(FuseGeglu.Apply);
    }

    [Fact]
    public void FuseActivation_follows_an_item_bias()
    {
        graph.Output("out", ((s / "a").Conv(x, 32) + Row()).Activate(Activation.QuickGelu));
        Apply(FuseItemBias.Apply);
        Apply(FuseActivation.Apply);
        Assert.Equal("Input Input Conv", Ops);
        Assert.True(graph.Outputs["out"].Op is Contraction { HasItemBias: true, Activation: Activation.QuickGelu });
    }

    [Fact]
    public void FuseActivation_takes_one_activation_and_no_residual()
    {
        graph.Output("twice", (s / "a").Linear(x, 32).Silu().Silu());
        graph.Output("residual", ((s / "b").Linear(x, 32) + x).Silu());
        Apply(FuseResidual.Apply);
        Apply(FuseActivation.Apply);
        Assert.Equal("Input Linear Silu Linear Silu", Ops);
    }

    [Fact]
    public void FuseActivation_needs_a_single_use()
    {
        var a = (s / "a").Linear(x, 32);
        graph.Output("a", a);
        graph.Output("silu", a.Silu());
        var b = (s / "b").Linear(x, 32);
        graph.Output("sum", b + b.Silu());
        AssertUnchanged(FuseActivation.Apply);
    }

    [Fact]
    public void FuseSumActivation_takes_the_sum_of_a_contraction()
    {
        graph.Output("out", ((s / "a").Linear(x, 32) + x).Activate(Activation.Relu));
        AssertUnchanged(FuseSumActivation.Apply);
        Apply(FuseResidual.Apply);
        Apply(FuseSumActivation.Apply);
        Assert.Equal("Input Linear", Ops);
        Assert.True(graph.Outputs["out"].Op is Contraction { HasResidual: true, ActivatesSum: true, Activation: Activation.Relu });
    }

    [Fact]
    public void FuseSumActivation_needs_a_single_use_and_no_activation_before()
    {
        var sum = (s / "a").Linear(x, 32) + x;
        graph.Output("sum", sum);
        graph.Output("relu", sum.Activate(Activation.Relu));
        graph.Output("two", ((s / "b").Linear(x, 32).Silu() + x).Activate(Activation.Relu));
        Apply(FuseActivation.Apply);
        Apply(FuseResidual.Apply);
        AssertUnchanged(FuseSumActivation.Apply);
    }

    [Fact]
    public void FuseItemBias_waits_for_a_later_row()
    {
        var h = (s / "a").Conv(x, 32);
        var row = Row().Silu();
        graph.Output("out", h + row);
        Apply(FuseItemBias.Apply);
        Assert.Equal("Input Input Silu Conv", Ops);
        Assert.Equal([x, row], graph.Outputs["out"].Inputs);
        Assert.Equal("a", graph.Outputs["out"].Path);
    }

    [Fact]
    public void FuseItemBias_leaves_activated_twice_used_and_slower_summands()
    {
        var slow = graph.Input("slow", x.Shape, ElementType.Activation, Rate.Prompt);
        var used = (s / "used").Linear(x, 32);
        graph.Output("used", used);
        graph.Output("sum", used + Row());
        graph.Output("activated", (s / "activated").Linear(x, 32).Silu() + Row());
        graph.Output("slow", (s / "slow").Linear(slow, 32) + Row());
        Apply(FuseActivation.Apply);
        AssertUnchanged(FuseItemBias.Apply);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void FuseResidual_takes_either_side(bool contractionFirst)
    {
        var h = (s / "a").Conv(x, 32);
        var late = x.Silu();
        graph.Output("out", contractionFirst ? h + late : late + h);
        Apply(FuseResidual.Apply);
        Assert.Equal("Input Silu Conv", Ops);
        Assert.Equal([x, late], graph.Outputs["out"].Inputs);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void FuseResidual_chooses_the_later_contraction(bool laterFirst)
    {
        var a = (s / "a").Conv(x, 32);
        var b = (s / "b").Conv(x, 32, kernel: 1);
        graph.Output("out", laterFirst ? b + a : a + b);
        Apply(FuseResidual.Apply);
        Assert.Equal("Input Conv Linear", Ops);
        Assert.Equal([x, a], graph.Outputs["out"].Inputs);
        Assert.Equal("b", graph.Outputs["out"].Path);
    }

    [Fact]
    public void FuseResidual_chooses_the_earlier_contraction_where_the_later_one_is_needed()
    {
        var a = (s / "a").Conv(x, 32);
        var b = (s / "b").Conv(x, 32, kernel: 1);
        graph.Output("b", b);
        graph.Output("out", a + b);
        Apply(FuseResidual.Apply);
        Assert.Equal("Input Linear Conv", Ops);
        Assert.Equal([x, b], graph.Outputs["out"].Inputs);
    }

    [Fact]
    public void FuseResidual_follows_an_activation_and_stands_last()
    {
        graph.Output("out", ((s / "a").Conv(x, 32) + Row()).Silu() + x);
        Apply(FuseItemBias.Apply);
        Apply(FuseActivation.Apply);
        Apply(FuseResidual.Apply);
        Assert.Equal("Input Input Conv", Ops);
        Assert.True(graph.Outputs["out"].Op is Contraction { HasItemBias: true, Activation: Activation.Silu, HasResidual: true });
        Assert.Equal(["x", "row", "x"], graph.Outputs["out"].Inputs.Select(i => i.Path));
    }

    [Fact]
    public void FuseResidual_adds_once_and_leaves_twice_used_and_slower_summands()
    {
        var slow = graph.Input("slow", x.Shape, ElementType.Activation, Rate.Prompt);
        var used = (s / "used").Linear(x, 32);
        graph.Output("used", used.Silu());
        graph.Output("sum", used + x);
        var a = (s / "double").Linear(x, 32);
        graph.Output("double", a + a);
        graph.Output("slow", (s / "slow").Linear(slow, 32) + x);
        graph.Output("gated", (s / "gated").Linear(x, 64).Geglu() + x);
        Apply(FuseGeglu.Apply);
        AssertUnchanged(FuseResidual.Apply);

        graph.Output("three", (s / "three").Linear(x, 32) + x + x);
        Apply(FuseResidual.Apply);
        Assert.EndsWith("Linear Add", Ops, StringComparison.Ordinal);
    }

    [Fact]
    public void FuseNormSilu_needs_a_single_use()
    {
        graph.Output("out", (s / "a").GroupNorm(x, 8, 1e-5).Silu());
        Apply(FuseNormSilu.Apply);
        Assert.Equal("Input GroupNorm", Ops);
        Assert.True(((GroupNorm)graph.Outputs["out"].Op).Silu);

        var b = (s / "b").GroupNorm(x, 8, 1e-5);
        graph.Output("b", b);
        graph.Output("silu", b.Silu());
        graph.Output("gelu", (s / "c").GroupNorm(x, 8, 1e-5).Activate(Activation.Gelu));
        AssertUnchanged(FuseNormSilu.Apply);
    }

    private Value Row() => graph.Input("row", new Shape(1, 1, 1, 32), ElementType.Activation, Rate.Step);

    private void Apply(Action<Graph> rule)
    {
        rule(graph);
        graph.RemoveUnused();
        GraphCheck.Verify(graph);
    }

    private void AssertUnchanged(Action<Graph> rule)
    {
        var before = graph.Values.Select(v => (v, v.Op, string.Join(' ', v.Inputs.Select(i => i.Path)))).ToArray();
        Apply(rule);
        Assert.Equal(before, graph.Values.Select(v => (v, v.Op, string.Join(' ', v.Inputs.Select(i => i.Path)))));
    }
}
