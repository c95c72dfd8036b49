using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>Runs an operator case between guards.</summary>
internal static class OpRun
{
    /// <returns>The result, channels last.</returns>
    public static float[] Run<T>(DeviceFixture fixture, Backend backend, OpCase op, FusionOptions fusion) where T : unmanaged
    {
        using var run = new GuardedRun<T>(op.Record(), fusion, fixture.DeviceOf(backend), fixture.Kernels<T>(backend), op.OpenWeights());
        return run.Run(op.InputValues)["out"];
    }

    /// <summary>
    /// A case's inputs and weights as a backend stores them: with fp16, what the arena and the packed weights hold is rounded; biases and
    /// the vectors of norms are not.
    /// </summary>
    public static Func<string, float[]> StoredData(OpCase op, bool half)
    {
        var graph = op.Record();
        var data = graph.Inputs.ToDictionary(i => ((Input)i.Op).Key,
            i => Round(op.InputValues(i), half && i.Type == ElementType.Activation));
        foreach (var weight in graph.Weights)
        {
            data.Add(weight.Name, Round(op.WeightValues(weight.Name, weight.Shape), half && weight.Shape.Length > 1));
        }

        return name => data[name];
    }

    private static float[] Round(float[] values, bool half) => half ? [.. values.Select(v => (float)(Half)v)] : values;
}
