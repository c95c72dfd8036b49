using StableDiffusion.Ilgpu.Compilation.Rules;
using StableDiffusion.Ilgpu.Graphs;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>What holds for every graph, fused or not.</summary>
internal static class GraphCheck
{
    public static void Verify(Graph graph)
    {
        var seen = new HashSet<Value>();
        foreach (var value in graph.Values)
        {
            Assert.All(value.Inputs, i => Assert.Contains(i, seen));
            Assert.True(seen.Add(value));
            Assert.All(value.Inputs, i => Assert.True(i.Rate <= value.Rate));
            switch (value.Op)
            {
                case Contraction op:
                    VerifyContraction(value, op);
                    break;
                case Slice op:
                    Assert.Equal(value.Inputs[0].Shape with { C = op.Count }, value.Shape);
                    Assert.InRange(op.Start, 0, value.Inputs[0].C - op.Count);
                    break;
                case GroupNorm or Activate:
                    Assert.Equal(value.Inputs[0].Shape, value.Shape);
                    break;
            }
        }

        Assert.All(graph.Outputs.Values, o => Assert.Contains(o, seen));
        Assert.All(graph.Names.Values, o => Assert.Contains(o, seen));
    }

    private static void VerifyContraction(Value value, Contraction op)
    {
        Assert.Equal(1 + (op.HasItemBias ? 1 : 0) + (op.HasResidual ? 1 : 0), value.Inputs.Length);
        var x = value.Inputs[0].Shape;
        var (h, w) = op.Window.Output(op.ResizeTo?.H ?? x.H, op.ResizeTo?.W ?? x.W);
        Assert.Equal(new Shape(x.N, h, w, op.Geglu ? op.Columns / 2 : op.Columns), value.Shape);
        foreach (var (kernel, bias) in op.Parts)
        {
            Assert.Equal(x.C, kernel.Shape[1]);
            Assert.True(bias is null || bias.Shape.SequenceEqual([kernel.Shape[0]]));
        }

        if (op.Geglu)
        {
            Assert.Equal(0, value.C % FuseGeglu.PanelColumns);
            Assert.True(op with { Geglu = false } is { HasEpilogue: false, Siblings.Count: 0 });
        }

        if (op.HasItemBias)
        {
            var bias = value.Inputs[1].Shape;
            Assert.True(bias == new Shape(value.Shape.N, 1, 1, value.C) || bias == new Shape(1, 1, 1, value.C));
        }

        if (op.HasResidual)
        {
            Assert.Equal(value.Shape, value.Inputs[^1].Shape);
        }
    }
}
