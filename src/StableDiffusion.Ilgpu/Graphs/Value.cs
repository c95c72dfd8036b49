namespace StableDiffusion.Ilgpu.Graphs;

/// <summary>The result of one operation. Rules rewrite <see cref="Op"/> and <see cref="Inputs"/>; the shape never changes.</summary>
internal sealed class Value(Graph graph, Op op, Value[] inputs, Shape shape, ElementType type, string path, Rate rate)
{
    public Graph Graph => graph;

    public Op Op { get; set; } = op;

    public Value[] Inputs { get; set; } = inputs;

    public Shape Shape => shape;

    public ElementType Type => type;

    /// <summary>Where in the model it was recorded: a diffusers module path, or that of the nearest module.</summary>
    public string Path => path;

    public Rate Rate => rate;

    public int C => shape.C;

    public Value Silu() => Activate(Activation.Silu);

    public Value Activate(Activation activation) => graph.Record(new Activate(activation), shape, path, this);

    /// <summary>h * gelu(g) for channels [h | g].</summary>
    public Value Geglu() => graph.Record(new Geglu(), shape with { C = shape.C / 2 }, path, this);

    public Value Resize(int h, int w) =>
        (h, w) == (shape.H, shape.W) ? this : graph.Record(new Resize(h, w), shape with { H = h, W = w }, path, this);

    public Value Concat(Value other) => graph.Record(new Concat(), shape with { C = shape.C + other.C }, path, this, other);

    public static Value operator +(Value a, Value b)
    {
        if (a.C != b.C || (b.Shape != a.Shape && (b.Shape.RowsPerItem != 1 || (b.Shape.N != 1 && b.Shape.N != a.Shape.N))))
        {
            throw new InvalidOperationException($"{a.Path}: {a.Shape} + {b.Shape}");
        }

        return a.Graph.Record(new Add(), a.Shape, a.Path, a, b);
    }

    public override string ToString() => $"{Path}: {Op.Name} {Shape}";
}
