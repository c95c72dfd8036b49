namespace StableDiffusion.Ilgpu.Graphs;

/// <summary>The result of one operation. Rules may compute it by another operation (<see cref="Rewrite"/>); the shape never changes.</summary>
internal sealed class Value(Graph graph, Op op, Value[] inputs, Shape shape, ElementType type, string path, Rate rate)
{
    public Graph Graph => graph;

    public Op Op { get; private set; } = op;

    public Value[] Inputs { get; private set; } = inputs;

    public Shape Shape => shape;

    public ElementType Type => type;

    /// <summary>Where in the model it was recorded: a diffusers module path, or that of the nearest module.</summary>
    public string Path { get; private set; } = path;

    public Rate Rate => rate;

    public int C => shape.C;

    /// <summary>
    /// Lets another operation compute this value. It keeps its place in the graph, so the new inputs must stand before it.
    /// </summary>
    public void Rewrite(Op op, string path, params Value[] inputs) => (Op, Path, Inputs) = (op, path, inputs);

    public Value Silu() => Activate(Activation.Silu);

    public Value Activate(Activation activation) => graph.Record(new Activate(activation), shape, Path, this);

    /// <summary>factor * x + offset.</summary>
    public Value Affine(double factor, double offset) => graph.Record(new Affine(factor, offset), shape, Path, this);

    /// <summary>h * gelu(g) for channels [h | g].</summary>
    public Value Geglu() => graph.Record(new Geglu(), shape with { C = shape.C / 2 }, Path, this);

    public Value Resize(int h, int w) =>
        (h, w) == (shape.H, shape.W) ? this : graph.Record(new Resize(h, w), shape with { H = h, W = w }, Path, this);

    public Value Concat(Value other) => graph.Record(new Concat(), shape with { C = shape.C + other.C }, Path, this, other);

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
