using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Kernels.Attention;
using StableDiffusion.Ilgpu.Kernels.Gemm;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Norms;
using StableDiffusion.Ilgpu.Kernels.Pointwise;

namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>Turns placed values into launches: the only place where a graph's operations meet kernels' arguments.</summary>
internal sealed class LaunchBuilder<T>(
    FusionOptions fusion, KernelSet<T> kernels, WeightStore<T> weights, Placement placement, ArenaPlan arena)
    where T : unmanaged
{
    /// <summary>Memory beside the arena that the launches so far share.</summary>
    public WorkspaceNeeds Needs { get; private set; }

    public IEnumerable<Launch<T>> Build(Value value) => value.Op switch
    {
        Contraction op => [Contraction(value, op)],
        Graphs.Attention op => [Attention(value, op)],
        GroupNorm op => GroupNorm(value, op),
        Graphs.LayerNorm op => [LayerNorm(value, op)],
        Activate op => [Pointwise(value, kernels.Activate, Unary(value, value.Inputs[0]) with { Activation = (int)op.Activation })],
        Graphs.Affine op => [Affine(value, op)],
        Graphs.Geglu => [Pointwise(value, kernels.Geglu, Unary(value, value.Inputs[0]))],
        Graphs.Add => [Add(value)],
        Graphs.Resize => [Resize(value)],
        Concat => placement.Copies(value).Select(c => Copy(value, c)),
        Graphs.TokenEmbedding op => [TokenEmbedding(value, op)],
        Graphs.TimestepEmbedding op => [TimestepEmbedding(value, op)],
        _ => throw new InvalidOperationException($"{value}: no kernel for {value.Op.Name}"),
    };

    private void Need(long scratchValues, long momentValues = 0) => Needs = Needs.Or(new(ScratchValues: scratchValues, MomentValues: momentValues));

    /// <summary>Elements of T from the arena's start.</summary>
    public long OffsetOf(Value value) => ElementOffset(placement[value]);

    private long ElementOffset(ValuePlace place) =>
        (arena.OffsetOf(place.Root) / System.Runtime.CompilerServices.Unsafe.SizeOf<T>()) + place.ElementOffset;

    private Launch<T> Launch(Value value, string kernel, double flops, LaunchAction<T> run) =>
        new(value, $"{kernel} {kernels.Leaf}", OffsetOf(value) * System.Runtime.CompilerServices.Unsafe.SizeOf<T>(), flops, run);

    private Launch<T> Contraction(Value value, Contraction op)
    {
        var (source, shape) = (value.Inputs[0], value.Shape);
        var (height, width) = op.ResizeTo ?? (source.Shape.H, source.Shape.W);
        var arguments = new GemmArguments<T>
        {
            Weights = weights.Panels(op),
            Bias = weights.Bias(op),
            Source = OffsetOf(source),
            Target = OffsetOf(value),
            SourcePitch = placement[source].RowPitch,
            TargetPitch = placement[value].RowPitch,
            OutputWidth = shape.W,
            OutputPixels = shape.RowsPerItem,
            Rows = shape.Rows,
            SourceHeight = source.Shape.H,
            SourceWidth = source.Shape.W,
            Height = height,
            Width = width,
            Channels = source.C,
            Kernel = op.Window.Kernel,
            Stride = op.Window.Stride,
            PadLeft = op.Window.PadLeft,
            PadTop = op.Window.PadTop,
            Circular = op.Window.Circular ? 1 : 0,
            Depth = WeightPacker.Depth(op),
            Columns = shape.C,
            Panels = WeightPacker.Panels(op),
            PanelPitch = kernels.PanelPitch,
            Epilogue = new Epilogue
            {
                Activation = (int)op.Activation,
                ActivatesSum = op.ActivatesSum ? 1 : 0,
                Geglu = op.Geglu ? 1 : 0,
                HasItemBias = op.HasItemBias ? 1 : 0,
                HasResidual = op.HasResidual ? 1 : 0,
            },
        };
        if (op.HasItemBias)
        {
            var bias = value.Inputs[1];
            arguments.ItemBias = OffsetOf(bias);
            arguments.ItemBiasPitch = bias.Shape.N == 1 ? 0 : placement[bias].RowPitch;
        }

        if (op.HasResidual)
        {
            arguments.Residual = OffsetOf(value.Inputs[^1]);
            arguments.ResidualPitch = placement[value.Inputs[^1]].RowPitch;
        }

        var flops = 2.0 * shape.Rows * op.Columns * arguments.Depth;
        if ((fusion.Winograd ?? typeof(T) == typeof(ushort)) && kernels.WinogradFor(arguments) is { } winograd)
        {
            Need(winograd.Scratch);
            return Launch(
                value, winograd.Name, flops,
                context => winograd.Launch(context.Stream, arguments with { Arena = context.Arena }, context.Scratch, context.Counter));
        }

        kernels.Cut(ref arguments);
        Need(kernels.Scratch(arguments));
        var kernel = kernels.GemmFor(arguments);
        return Launch(
            value, $"gemm {arguments.TileRows}x{arguments.TilePanels * Tile.Columns}", flops,
            context => kernel(context.Stream, arguments with { Arena = context.Arena }, context.Scratch, context.Counter));
    }

    private Launch<T> Attention(Value value, Graphs.Attention op)
    {
        var (q, k, v) = (value.Inputs[0], value.Inputs[1], value.Inputs[2]);
        var headSize = q.C / op.Heads;
        var arguments = new AttentionArguments<T>
        {
            Query = OffsetOf(q),
            Key = OffsetOf(k),
            Value = OffsetOf(v),
            Target = OffsetOf(value),
            QueryPitch = placement[q].RowPitch,
            KeyPitch = placement[k].RowPitch,
            ValuePitch = placement[v].RowPitch,
            TargetPitch = placement[value].RowPitch,
            Items = q.Shape.N,
            Heads = op.Heads,
            HeadSize = headSize,
            Queries = q.Shape.RowsPerItem,
            Keys = k.Shape.RowsPerItem,
            Causal = op.Causal ? 1 : 0,
            Scale = (float)(Math.Log2(Math.E) / Math.Sqrt(headSize)),
        };
        Need((long)arguments.Scratch * kernels.ScratchGroups);
        var kernel = kernels.AttentionFor(arguments);
        return Launch(
            value, "attention", 4.0 * q.Shape.Count * k.Shape.RowsPerItem,
            context => kernel(context.Stream, arguments with { Arena = context.Arena }, context.Scratch, context.Counter));
    }

    private IEnumerable<Launch<T>> GroupNorm(Value value, GroupNorm op)
    {
        var source = value.Inputs[0];
        var arguments = new GroupNormArguments<T>
        {
            Weights = weights.Vector(op.Scale),
            Biases = weights.Vector(op.Offset),
            Source = OffsetOf(source),
            Target = OffsetOf(value),
            SourcePitch = placement[source].RowPitch,
            TargetPitch = placement[value].RowPitch,
            Items = source.Shape.N,
            Rows = source.Shape.RowsPerItem,
            Channels = source.C,
            Groups = op.Groups,
            Epsilon = (float)op.Epsilon,
            Silu = op.Silu ? 1 : 0,
        };
        if (kernels.GroupNormFor(arguments) is { } whole)
        {
            yield return Step("groupnorm", whole);
            yield break;
        }

        Need((long)arguments.Scratch * kernels.ScratchGroups, arguments.MomentCount);
        yield return Step("moments", kernels.Moments);
        if (arguments.NeedsMerge)
        {
            yield return Step("merge", kernels.MergeMoments);
        }

        yield return Step("normalize", kernels.Normalize);

        Launch<T> Step(string name, Launcher<GroupNormArguments<T>> kernel) => Launch(
            value, name, 0,
            context => kernel(
                context.Stream, arguments with { Arena = context.Arena, Moments = context.Moments }, context.Scratch, context.Counter));
    }

    private Launch<T> LayerNorm(Value value, Graphs.LayerNorm op)
    {
        var source = value.Inputs[0];
        var arguments = new LayerNormArguments<T>
        {
            Weights = weights.Vector(op.Scale),
            Biases = weights.Vector(op.Offset),
            Source = OffsetOf(source),
            Target = OffsetOf(value),
            SourcePitch = placement[source].RowPitch,
            TargetPitch = placement[value].RowPitch,
            Rows = source.Shape.Rows,
            Channels = source.C,
            Epsilon = (float)op.Epsilon,
        };
        var kernel = kernels.LayerNorm;
        return Launch(
            value, "layernorm", 0,
            context => kernel(context.Stream, arguments with { Arena = context.Arena }, context.Scratch, context.Counter));
    }

    private PointwiseArguments<T> Unary(Value value, Value source) => new()
    {
        Source = OffsetOf(source),
        Target = OffsetOf(value),
        SourcePitch = placement[source].RowPitch,
        TargetPitch = placement[value].RowPitch,
        Rows = value.Shape.Rows,
        Columns = value.C,
    };

    private Launch<T> Pointwise(Value value, Launcher<PointwiseArguments<T>> kernel, PointwiseArguments<T> arguments, string? name = null) => Launch(
#pragma warning disable CA1308 // Kernels' names are small letters.
        value, name ?? value.Op.Name.ToLowerInvariant(), 0,
#pragma warning restore CA1308
        context => kernel(context.Stream, arguments with { Arena = context.Arena }, context.Scratch, context.Counter));

    private Launch<T> Affine(Value value, Graphs.Affine op) => Pointwise(
        value, kernels.Affine, Unary(value, value.Inputs[0]) with { Factor = (float)op.Factor, Offset = (float)op.Offset });

    private Launch<T> Add(Value value)
    {
        var (a, b) = (value.Inputs[0], value.Inputs[1]);
        return Pointwise(value, kernels.Add, Unary(value, a) with
        {
            Other = OffsetOf(b),
            OtherPitch = placement[b].RowPitch,
            RowsPerOther = a.Shape.Rows / b.Shape.Rows,
        });
    }

    private Launch<T> Resize(Value value) => Pointwise(value, kernels.Resize, Unary(value, value.Inputs[0]) with
    {
        Height = value.Shape.H,
        Width = value.Shape.W,
        SourceHeight = value.Inputs[0].Shape.H,
        SourceWidth = value.Inputs[0].Shape.W,
    });

    private Launch<T> Copy(Value value, ConcatCopy copy) => Pointwise(value, kernels.Activate, Unary(value, copy.Operand) with
    {
        Target = ElementOffset(copy.Target),
        TargetPitch = copy.Target.RowPitch,
        Columns = copy.Operand.C,
    }, "copy");

    private Launch<T> TokenEmbedding(Value value, Graphs.TokenEmbedding op)
    {
        var ids = value.Inputs[0];
        var first = arena.OffsetOf(placement[ids].Root) / sizeof(int);
        var arguments = new EmbeddingArguments<T>
        {
            Tokens = weights.Table(op.Tokens),
            Positions = weights.Table(op.Positions),
            Target = OffsetOf(value),
            TargetPitch = placement[value].RowPitch,
            Rows = value.Shape.Rows,
            Columns = value.C,
            Length = value.Shape.W,
        };
        var kernel = kernels.TokenEmbedding;
        return Launch(value, "tokens", 0, context => kernel(
            context.Stream, arguments with { Arena = context.Arena, Ids = context.Arena.Cast<int>().SubView(first, ids.Shape.Count) },
            context.Scratch, context.Counter));
    }

    private Launch<T> TimestepEmbedding(Value value, Graphs.TimestepEmbedding op)
    {
        var timesteps = value.Inputs[0];
        var first = arena.OffsetOf(placement[timesteps].Root) / sizeof(float);
        var arguments = new EmbeddingArguments<T>
        {
            Frequencies = weights.Frequencies(op),
            Target = OffsetOf(value),
            TargetPitch = placement[value].RowPitch,
            Rows = value.Shape.Rows,
            Columns = value.C,
            CosineFirst = op.CosineFirst ? 1 : 0,
        };
        var kernel = kernels.TimestepEmbedding;
        return Launch(value, "timesteps", 0, context => kernel(
            context.Stream, arguments with { Arena = context.Arena, Timesteps = context.Arena.Cast<float>().SubView(first, timesteps.Shape.Count) },
            context.Scratch, context.Counter));
    }
}
