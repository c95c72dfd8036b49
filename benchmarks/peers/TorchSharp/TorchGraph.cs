using StableDiffusion.Ilgpu.Benchmarks.Serving;
using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Weights;
using TorchSharp;
using Tensor = TorchSharp.torch.Tensor;

namespace StableDiffusion.Ilgpu.Peers.Torch;

/// <summary>
/// A recorded model, without any fusion, computed operation by operation as PyTorch's eager modules do. What changes only with the prompt
/// or the timestep is computed once, as this library does too; memory goes back as soon as a value is last used.
/// </summary>
internal sealed class TorchGraph : IDisposable
{
    private readonly Graph graph;
    private readonly TorchOperations operations;
    private readonly Dictionary<Value, TorchValue> kept = [];

    /// <summary>The values of a step, each with those that nothing behind it reads.</summary>
    private readonly List<(Value Value, Value[] Done)> step = [];

    private TorchValue? output;

    public TorchGraph(Graph graph, IWeightSource weights, MemoryLayout layout)
    {
        this.graph = graph;
        operations = new TorchOperations(weights, graph, layout);
        using var mode = torch.inference_mode();
        foreach (var input in graph.Inputs)
        {
            kept[input] = operations.Input(input, BenchmarkInputs.Of(graph, input.Path));
        }

        foreach (var value in graph.Values.Where(v => v.Rate != Rate.Step && v.Op is not Input))
        {
            kept[value] = Compute(value, kept);
        }

        var lastUse = new Dictionary<Value, Value>();
        foreach (var value in graph.Values)
        {
            foreach (var used in value.Inputs)
            {
                lastUse[used] = value;
            }
        }

        foreach (var value in graph.Values.Where(v => !kept.ContainsKey(v)))
        {
            step.Add((value, [.. value.Inputs.Distinct().Where(i => lastUse[i] == value && !kept.ContainsKey(i))]));
        }
    }

    public void Run()
    {
        using var mode = torch.inference_mode();
        output?.Dispose();
        var values = new Dictionary<Value, TorchValue>(kept);
        foreach (var (value, done) in step)
        {
            values[value] = Compute(value, values);
            foreach (var unused in done)
            {
                values[unused].Dispose();
                values.Remove(unused);
            }
        }

        output = values[graph.Outputs["out"]];
    }

    /// <summary>Of the last run, channels last.</summary>
    public float[] Output()
    {
        using var mode = torch.inference_mode();
        using var rows = TorchOperations.Rows(output!);
        using var dense = rows.contiguous();
        return dense.data<float>().ToArray();
    }

    public void Dispose()
    {
        output?.Dispose();
        foreach (var value in kept.Values)
        {
            value.Dispose();
        }

        operations.Dispose();
    }

    private TorchValue Compute(Value value, Dictionary<Value, TorchValue> values)
    {
        using var scope = torch.NewDisposeScope();
        var result = operations.Compute(value, [.. value.Inputs.Select(i => values[i])]);
        result.Tensor.MoveToOuterDisposeScope();
        return result;
    }
}
