using System.Text;
using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>
/// One case of an operator, or of a few that the rules fuse: a graph with its inputs and weights, and how near to the exact result a
/// backend must come. It drives correctness on every backend, the comparison of fused with unfused, and benchmarks.
/// </summary>
/// <param name="name">What the case is, for people.</param>
/// <param name="record">Records the graph with its inputs and outputs; inputs and weights are told apart by their names.</param>
internal sealed class OpCase(string name, Action<Graph> record)
{
    /// <summary>Not a result.</summary>
    public const string Apart = "apart";

    private const ulong FnvBasis = 14695981039346656037;
    private const ulong FnvPrime = 1099511628211;

    private readonly Dictionary<string, float[]> made = [];

    public string Name => name;

    /// <summary>
    /// Largest relative L2 error of each operation with fp32 storage. The default is what the reference data's README allows fp32
    /// arithmetic.
    /// </summary>
    public double FloatLimit { get; init; } = 1e-6;

    /// <summary>
    /// The same for fp16 storage, against the exact result of inputs and weights that are rounded already: the stored result is
    /// rounded once, by at most 2^-11 of itself.
    /// </summary>
    public double HalfLimit { get; init; } = 4.9e-4;

    /// <summary>Why the limits are not the usual ones.</summary>
    public string? LimitReason { get; init; }

    /// <summary>Values of an input or weight by name and count, in place of the random ones; null for those.</summary>
    public Func<string, int, float[]?>? Values { get; init; }

    /// <summary>The case's convolutions are circular.</summary>
    public bool Circular { get; init; }

    /// <summary>The graph, anew: rules rewrite it in place.</summary>
    public Graph Record()
    {
        // An input that nothing reads keeps the others away from the arena's start; being an output too, it stays.
        var graph = new Graph(name) { Circular = Circular };
        graph.Output(Apart, graph.Input(Apart, new Shape(1, 1, 1, 33), ElementType.Activation, Rate.Prompt));
        record(graph);
        return graph;
    }

    /// <summary>Multiplications and additions of the contractions and attentions; everything else is bound by memory.</summary>
    public double Flops => Record().Values.Sum(v => v.Op switch
    {
        Contraction op => 2.0 * v.Shape.Rows * op.Kernel.Shape.Aggregate(1L, (a, b) => a * b),
        Attention => 4.0 * v.Shape.Count * v.Inputs[1].Shape.RowsPerItem,
        _ => 0,
    });

    /// <summary>Limit of a whole graph: each operation that stores a result adds its error.</summary>
    public double Limit(bool half) =>
        (half ? HalfLimit : FloatLimit) * Math.Max(1, Record().Values.Count(v => v.Op is not (Input or Concat or Resize)));

    /// <summary>Input values, channels last; whole numbers for token ids.</summary>
    public float[] InputValues(Value input)
    {
        var key = ((Input)input.Op).Key;
        return Make(key, input.Shape.Count, () => input.Type switch
        {
            ElementType.Activation => u => (float)(Math.Sqrt(3) * u),
            ElementType.Float32 => u => (float)Math.Round(500 + (499 * u)),
            _ => u => (float)Math.Floor((u + 1) / 2 * 40),
        });
    }

    /// <summary>Weight values, row-major: of a variance that keeps results near 1.</summary>
    public float[] WeightValues(string weight, long[] shape) => Make(weight, shape.Aggregate(1L, (a, b) => a * b), () =>
    {
        var fanIn = shape.Skip(1).Aggregate(1L, (a, b) => a * b);
        return weight.EndsWith("bias", StringComparison.Ordinal) ? u => (float)(0.3 * u)
            : shape.Length == 1 ? u => (float)(1 + (0.3 * u))
            : u => (float)(Math.Sqrt(3.0 / fanIn) * u);
    });

    /// <summary>The weights of the case's graph.</summary>
    public IWeightSource OpenWeights() => new CaseWeights(this, Record().Weights);

    /// <summary>Values from a uniform number u in -1 … 1, the same in every run.</summary>
    private float[] Make(string tensor, long count, Func<Func<double, float>> rule)
    {
        lock (made)
        {
            if (!made.TryGetValue(tensor, out var values))
            {
                values = Values?.Invoke(tensor, (int)count);
                if (values is null)
                {
                    var (function, seed) = (rule(), Hash($"{name}:{tensor}"));
                    values = [.. Enumerable.Range(1, (int)count).Select(i => function(Uniform(seed + ((ulong)i * 0x9e3779b97f4a7c15))))];
                }

                made.Add(tensor, values.Length == count ? values
                    : throw new InvalidOperationException($"{name}: {tensor} has {count} values"));
            }

            return values;
        }
    }

    private static ulong Hash(string text) => Encoding.UTF8.GetBytes(text).Aggregate(FnvBasis, (hash, b) => (hash ^ b) * FnvPrime);

    /// <summary>A finaliser of splitmix64, to -1 … 1.</summary>
    private static double Uniform(ulong z)
    {
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return (((z ^ (z >> 31)) >> 11) * Math.Pow(2, -52)) - 1;
    }

    public override string ToString() => name;

    private sealed class CaseWeights(OpCase owner, IReadOnlyList<Weight> weights) : IWeightSource
    {
        public string Description => owner.Name;

        public IReadOnlyDictionary<string, TensorInfo> Tensors { get; } =
            weights.ToDictionary(w => w.Name, w => new TensorInfo(w.Name, TensorType.F32, w.Shape));

        public void Read(string name, Span<float> destination) => owner.WeightValues(name, Tensors[name].Shape).CopyTo(destination);

        public void Read(string name, Span<ushort> destination)
        {
            var values = owner.WeightValues(name, Tensors[name].Shape);
            for (var i = 0; i < values.Length; i++)
            {
                destination[i] = BitConverter.HalfToUInt16Bits((Half)values[i]);
            }
        }

        public void Dispose()
        {
        }
    }
}
