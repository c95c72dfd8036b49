using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary>Launches by what they have in common.</summary>
internal static class NodeKind
{
    public const string Pointwise = "gemm pointwise";
    public const string Attention = "attention";
    public const string Norm = "norms";
    public const string Other = "other";

    public static string Of(Launch<ushort> launch) => launch.Value.Op switch
    {
        Contraction { IsPointwise: true } => Pointwise,
        Contraction c => $"gemm {c.Window.Kernel}x{c.Window.Kernel}",
        Graphs.Attention => Attention,
        GroupNorm or LayerNorm => Norm,
        _ => Other,
    };

    /// <summary>The kernel's work in numbers: launches with equal descriptions take the same time.</summary>
    public static string Describe(Launch<ushort> launch)
    {
        var (value, inputs) = (launch.Value, launch.Value.Inputs);
        return value.Op switch
        {
            Contraction c => $"{Of(launch)} {value.Shape.Rows} x {c.Columns} x {WeightPacker.Depth(c)}{Details(c)}",
            Graphs.Attention a => $"attention {value.Shape.N} items, {a.Heads} heads of {value.C / a.Heads}, "
                + $"{value.Shape.RowsPerItem} x {inputs[1].Shape.RowsPerItem}",
            GroupNorm g => $"group norm {value.Shape.N} x {value.Shape.RowsPerItem} x {value.C}{(g.Silu ? " silu" : "")}"
                + $": {KernelName(launch)}",
            LayerNorm => $"layer norm {value.Shape.Rows} x {value.C}",
            _ => $"{KernelName(launch)} {value.Shape.Rows} x {value.C}",
        };
    }

    /// <summary>Bytes of activations that a launch must read and write; null where that says nothing about its speed.</summary>
    public static double? Bytes(Launch<ushort> launch) => KernelName(launch) switch
    {
        _ when launch.Flops > 0 => null,
        "merge" => null,
        "moments" => launch.Value.Inputs[0].Shape.Count * sizeof(ushort),
        _ => (launch.Value.Inputs.Sum(i => i.Shape.Count) + launch.Value.Shape.Count) * sizeof(ushort),
    };

    private static string Details(Contraction c) =>
        (c.Window.Stride > 1 ? $" stride {c.Window.Stride}" : "")
        + (c.ResizeTo is not null ? " enlarged" : "")
        + (c.Geglu ? " geglu" : "")
        + (c.HasItemBias ? " +item bias" : "")
        + (c.Activation != Activation.None ? $" {c.Activation}" : "")
        + (c.HasResidual ? " +residual" : "");

    private static string KernelName(Launch<ushort> launch) => launch.Kernel[..launch.Kernel.IndexOf(' ', StringComparison.Ordinal)];
}
