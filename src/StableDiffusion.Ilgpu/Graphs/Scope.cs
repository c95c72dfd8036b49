namespace StableDiffusion.Ilgpu.Graphs;

/// <summary>
/// A path in a model. Layers are recorded through it, so that a layer's declaration, its weights' names and its use are one line:
/// <c>(s / "conv1").Conv(x, 320)</c> declares <c>conv1.weight</c> and <c>conv1.bias</c> below s.
/// </summary>
internal sealed class Scope(Graph graph, string path = "")
{
    public Graph Graph => graph;

    public string Path => path;

    public static Scope operator /(Scope scope, string name) => new(scope.Graph, scope.Path.Length == 0 ? name : $"{scope.Path}.{name}");

    public static Scope operator /(Scope scope, int index) => scope / index.ToString(System.Globalization.CultureInfo.InvariantCulture);

    public Weight Weight(string name, params long[] shape) => new(path.Length == 0 ? name : $"{path}.{name}", shape);

    /// <summary>Gives a module's output the module's name.</summary>
    public Value Mark(Value value) => graph.Mark(path, value);

    public Value Conv(Value x, int channels, int kernel = 3, int stride = 1) => Conv(x, channels, Window.Same(kernel, stride));

    /// <summary>A convolution with bias; weight (channels, x.C, k, k).</summary>
    public Value Conv(Value x, int channels, Window window, bool bias = true)
    {
        var (h, w) = window.Output(x.Shape.H, x.Shape.W);
        window = window with { Circular = graph.Circular && window.Kernel > 1 };
        var op = new Contraction(
            Weight("weight", channels, x.C, window.Kernel, window.Kernel), bias ? Weight("bias", channels) : null, window);
        return Mark(graph.Record(op, new Shape(x.Shape.N, h, w, channels), path, x));
    }

    /// <summary>A linear layer on the channels; weight (channels, x.C).</summary>
    public Value Linear(Value x, int channels, bool bias = true)
    {
        var op = new Contraction(Weight("weight", channels, x.C), bias ? Weight("bias", channels) : null, Window.Pointwise);
        return Mark(graph.Record(op, x.Shape with { C = channels }, path, x));
    }

    public Value GroupNorm(Value x, int groups, double epsilon) =>
        Mark(graph.Record(new GroupNorm(Weight("weight", x.C), Weight("bias", x.C), groups, epsilon), x.Shape, path, x));

    public Value LayerNorm(Value x, double epsilon) =>
        Mark(graph.Record(new LayerNorm(Weight("weight", x.C), Weight("bias", x.C), epsilon), x.Shape, path, x));

    public Value Attention(Value q, Value k, Value v, int heads, bool causal = false) =>
        graph.Record(new Attention(heads, causal), q.Shape, path, q, k, v);

    public Value TokenEmbedding(Value ids, int vocabulary, int size) =>
        graph.Record(
            new TokenEmbedding(
                Weight("token_embedding.weight", vocabulary, size), Weight("position_embedding.weight", ids.Shape.W, size)),
            ids.Shape with { C = size }, path, ids);

    public Value TimestepEmbedding(Value timesteps, int size, bool cosineFirst, double frequencyShift) =>
        Mark(graph.Record(new TimestepEmbedding(size, cosineFirst, frequencyShift), timesteps.Shape with { C = size }, path, timesteps));
}
