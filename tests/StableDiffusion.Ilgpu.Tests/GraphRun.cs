using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>A graph compiled as the library compiles it, with memory and weights of its own.</summary>
internal sealed class GraphRun<T> : IDisposable where T : unmanaged
{
    private readonly Workspace<T> workspace;
    private readonly WeightStore<T> weights;
    private readonly CompiledGraph<T> compiled;

    public GraphRun(DeviceFixture fixture, Backend backend, Graph graph, FusionOptions fusion, IWeightSource source)
    {
        workspace = new Workspace<T>(fixture.DeviceOf(backend));
        weights = new WeightStore<T>(fixture.DeviceOf(backend), source);
        compiled = CompiledGraph<T>.Compile(graph, fusion, fixture.DeviceOf(backend), fixture.Kernels<T>(backend), weights, workspace);
    }

    /// <param name="inputs">A stored tensor for each input: its values and its shape as stored.</param>
    public void Run(params (string Key, float[] Values, int[] Shape)[] inputs)
    {
        foreach (var (key, values, shape) in inputs)
        {
            compiled.Write(key, Axes.ToChannelsLast(values, shape));
        }

        Run();
    }

    public void Run(string key, int[] ids)
    {
        compiled.Write(key, ids);
        Run();
    }

    /// <summary>An output, channels last.</summary>
    public float[] Read(string key) => compiled.Read(key);

    public void Dispose()
    {
        compiled.Dispose();
        weights.Dispose();
        workspace.Dispose();
    }

    private void Run()
    {
        foreach (var program in compiled.Programs)
        {
            program.Run();
        }
    }
}
