using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Sampling.Noise;

namespace StableDiffusion.Ilgpu.Benchmarks.Serving;

/// <summary>What every contender computes with.</summary>
internal static class BenchmarkInputs
{
    /// <summary>Batch items of a UNet step: with the prompt and without, for guidance.</summary>
    public const int Items = 2;

    private const float Timestep = 500;

    /// <summary>Values of a graph's input, channels last: the same in every process.</summary>
    public static float[] Of(Graph graph, string key)
    {
        if (key == "timestep")
        {
            return [Timestep];
        }

        var values = new float[graph.Inputs.Single(i => i.Path == key).Shape.Count];
        NormalStream.Create(NoiseGenerator.Cuda, 42).Fill(values);
        return values;
    }
}
