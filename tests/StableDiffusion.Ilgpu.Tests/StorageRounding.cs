using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>
/// What the type of stored values alone does to a graph's outputs: they are computed in doubles with every value rounded that is stored, and
/// without. No kernel has a part in it, so limits may follow from it.
/// </summary>
internal static class StorageRounding
{
    /// <param name="graph">A graph that no rule has touched.</param>
    /// <param name="inputs">Values by key, channels last.</param>
    /// <param name="weights">The graph's weights.</param>
    /// <param name="half">Stored as fp16, else as fp32.</param>
    /// <returns>The relative L2 errors of the outputs by key.</returns>
    public static Dictionary<string, double> Measure(Graph graph, IReadOnlyDictionary<string, float[]> inputs, IWeightSource weights, bool half)
    {
        var shapes = graph.Weights.ToDictionary(w => w.Name, w => w.Shape);
        var exact = Reference.Evaluate(graph, Data);
        var stored = Reference.Evaluate(graph, name => shapes.TryGetValue(name, out var shape) && shape.Length == 1 ? Data(name)
            : [.. Data(name).Select(v => (float)Round(v))], Round);
        return exact.ToDictionary(o => o.Key, o => Distance(stored[o.Key], o.Value));

        double Round(double value) => half ? (double)(Half)value : (float)value;

        float[] Data(string name)
        {
            if (!shapes.TryGetValue(name, out var shape))
            {
                return inputs[name];
            }

            var values = new float[shape.Aggregate(1L, (a, b) => a * b)];
            weights.Read(name, values);
            return values;
        }
    }

    private static double Distance(double[] actual, double[] expected) =>
        Math.Sqrt(actual.Zip(expected, (a, e) => (a - e) * (a - e)).Sum() / expected.Sum(e => e * e));
}
