using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Devices;

namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>
/// What a graph's schedule program gives for each timestep of a run (the UNet's time embeddings and their projections), computed
/// once and put back before each step. No timestep is waited for by itself.
/// </summary>
internal sealed class ScheduleTable<T> : IDisposable where T : unmanaged
{
    private readonly DeviceSession device;
    private readonly CompiledGraph<T> graph;
    private readonly DeviceBuffer<T>? rows;
    private readonly DeviceBuffer<float> inputs;
    private readonly long width;

    public ScheduleTable(DeviceSession device, CompiledGraph<T> graph, string input, IReadOnlyList<double> timesteps)
    {
        (this.device, this.graph) = (device, graph);
        width = graph.ScheduleResults.Length;
        inputs = device.Upload<float>([.. timesteps.Select(t => (float)t)]);
        try
        {
            rows = device.Allocate<T>(width * timesteps.Count);
            for (var i = 0; i < timesteps.Count; i++)
            {
                graph.Write(input, inputs.View.SubView(i, 1));
                graph.Schedule.Run();
                graph.ScheduleResults.CopyTo(device.Stream, rows.View.SubView(i * width, width));
            }
        }
        catch
        {
            // Memory that ran out: the pipeline can be used again.
            Dispose();
            throw;
        }
    }

    /// <summary>Makes the graph's step program see timestep <paramref name="index"/>.</summary>
    public void Select(int index) => rows!.View.SubView(index * width, width).CopyTo(device.Stream, graph.ScheduleResults);

    public void Dispose()
    {
        inputs.Dispose();
        rows?.Dispose();
    }
}
