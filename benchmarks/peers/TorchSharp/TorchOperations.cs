using System.Runtime.InteropServices;
using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Weights;
using TorchSharp;
using static TorchSharp.torch.nn;
using Tensor = TorchSharp.torch.Tensor;

namespace StableDiffusion.Ilgpu.Peers.Torch;

/// <summary>
/// The graph's operations in torch's terms: convolutions and group norms on pictures, linear layers, layer norms and attention on rows, as
/// diffusers has them. Between the two forms values are permuted; channels-last, that moves nothing.
/// </summary>
internal sealed class TorchOperations : IDisposable
{
    private readonly MemoryLayout layout;
    private readonly Dictionary<string, Tensor> weights = [];

    public TorchOperations(IWeightSource source, Graph graph, MemoryLayout layout)
    {
        this.layout = layout;
        foreach (var weight in graph.Weights)
        {
            var tensor = torch.empty(weight.Shape, torch.float32);
            source.Read(weight.Name, MemoryMarshal.Cast<byte, float>(tensor.bytes));
            weights[weight.Name] = weight.Shape.Length == 4 && layout == MemoryLayout.ChannelsLast ? ToChannelsLast(tensor) : tensor;
        }
    }

    /// <summary>An input from its values, channels last.</summary>
    public TorchValue Input(Value input, float[] values)
    {
        var shape = input.Shape;
        var rows = torch.tensor(values, [shape.N, shape.RowsPerItem, shape.C]);
        var value = new TorchValue(rows, IsPicture: false);
        return shape.H > 1 ? new TorchValue(Picture(value, shape), IsPicture: true) : value;
    }

    public TorchValue Compute(Value value, TorchValue[] inputs) => value.Op switch
    {
        Contraction { Kernel.Shape.Length: 4 } op => new(Convolve(op, Picture(inputs[0], value.Inputs[0].Shape)), true),
        Contraction op => new(functional.linear(Rows(inputs[0]), weights[op.Kernel.Name], Bias(op)), false),
        GroupNorm op => new(functional.group_norm(
            Picture(inputs[0], value.Shape), op.Groups, weights[op.Scale.Name], weights[op.Offset.Name], op.Epsilon), true),
        LayerNorm op => new(functional.layer_norm(
            Rows(inputs[0]), [value.C], weights[op.Scale.Name], weights[op.Offset.Name], op.Epsilon), false),
        Attention op => new(Attend(op, Rows(inputs[0]), Rows(inputs[1]), Rows(inputs[2])), false),
        Activate op => inputs[0] with { Tensor = Activate(op.Activation, inputs[0].Tensor) },
        Affine op => inputs[0] with { Tensor = (inputs[0].Tensor * op.Factor) + op.Offset },
        Geglu => new(Gate(Rows(inputs[0])), false),
        Add => Sum(value, inputs[0], inputs[1]),
        Concat => Join(value, inputs[0], inputs[1]),
        Resize op => new(functional.interpolate(
            Picture(inputs[0], value.Inputs[0].Shape), [op.H, op.W], mode: torch.InterpolationMode.Nearest), true),
        TimestepEmbedding op => new(Embed(op, Rows(inputs[0])), false),
        var op => throw new StableDiffusionException($"{value}: the peer has no {op.Name}"),
    };

    /// <summary>(N, H W, C).</summary>
    public static Tensor Rows(TorchValue value)
    {
        if (!value.IsPicture)
        {
            return value.Tensor.alias();
        }

        var last = value.Tensor.permute(0, 2, 3, 1);
        return last.reshape(last.shape[0], last.shape[1] * last.shape[2], last.shape[3]);
    }

    public void Dispose()
    {
        foreach (var tensor in weights.Values)
        {
            tensor.Dispose();
        }
    }

    /// <summary>The same numbers and the same logical shape, with the channels next to each other.</summary>
    private static Tensor ToChannelsLast(Tensor tensor) => tensor.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2);

    private static Tensor Activate(Activation activation, Tensor x) => activation switch
    {
        Activation.Silu => functional.silu(x),
        _ => throw new StableDiffusionException($"the peer has no {activation}"),
    };

    private static Tensor Gate(Tensor x)
    {
        var halves = x.chunk(2, -1);
        return halves[0] * functional.gelu(halves[1]);
    }

    private static Tensor Embed(TimestepEmbedding op, Tensor timestep)
    {
        var half = op.Size / 2;
        var exponent = torch.arange(half, torch.float32) * (-Math.Log(10000) / (half - op.FrequencyShift));
        var angle = timestep * exponent.exp();
        return torch.cat(op.CosineFirst ? [angle.cos(), angle.sin()] : [angle.sin(), angle.cos()], -1);
    }

    private static Tensor Attend(Attention op, Tensor q, Tensor k, Tensor v)
    {
        var result = functional.scaled_dot_product_attention(Split(q), Split(k), Split(v), is_casual: op.Causal);
        return result.transpose(1, 2).reshape(q.shape);

        Tensor Split(Tensor x) => x.view(x.shape[0], x.shape[1], op.Heads, x.shape[2] / op.Heads).transpose(1, 2);
    }

    private Tensor? Bias(Contraction op) => op.Bias is null ? null : weights[op.Bias.Name];

    private Tensor Convolve(Contraction op, Tensor x)
    {
        var window = op.Window;
        if (window.PadLeft != window.PadRight || window.PadTop != window.PadBottom)
        {
            throw new StableDiffusionException($"{op.Kernel.Name}: the peer pads evenly only");
        }

        return functional.conv2d(
            x, weights[op.Kernel.Name], Bias(op), strides: [window.Stride, window.Stride], padding: [window.PadTop, window.PadLeft]);
    }

    /// <summary>Rows become a picture where the other summand is one, as at the end of a transformer.</summary>
    private TorchValue Sum(Value value, TorchValue a, TorchValue b)
    {
        var isPicture = a.IsPicture || (b.IsPicture && value.Inputs[1].Shape == value.Shape);
        return isPicture ? new(Picture(a, value.Shape) + Picture(b, value.Inputs[1].Shape), true) : new(Rows(a) + Rows(b), false);
    }

    private TorchValue Join(Value value, TorchValue a, TorchValue b) => a.IsPicture || b.IsPicture
        ? new(torch.cat([Picture(a, value.Shape), Picture(b, value.Shape)], 1), true)
        : new(torch.cat([Rows(a), Rows(b)], -1), false);

    /// <summary>(N, C, H, W), dense in this peer's layout.</summary>
    private Tensor Picture(TorchValue value, Shape shape)
    {
        if (value.IsPicture)
        {
            return value.Tensor.alias();
        }

        var rows = value.Tensor;
        var picture = rows.reshape(rows.shape[0], shape.H, shape.W, rows.shape[2]).permute(0, 3, 1, 2);
        return layout == MemoryLayout.ChannelsLast ? picture : picture.contiguous();
    }
}
