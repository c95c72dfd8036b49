using System.Collections.Concurrent;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu;

/// <summary>
/// The compiled graphs of a model's parts and the weights that they are bound to: all of them side by side, or one part at a time. In the
/// latter case a graph may be used until another part's is asked for; what is needed again is loaded again.
/// </summary>
/// <param name="device">Where they are.</param>
/// <param name="kernels">What the graphs launch.</param>
/// <param name="fusion">How they are compiled.</param>
/// <param name="workspace">What they share.</param>
/// <param name="takeTurns">Whether a part leaves when another one is needed.</param>
internal sealed class CompiledParts<T>(
    DeviceSession device, KernelSet<T> kernels, FusionOptions fusion, Workspace<T> workspace, bool takeTurns) : IDisposable where T : unmanaged
{
    /// <summary>
    /// Every size, batch and length of prompts has graphs of its own, most of a megabyte each in Stable Diffusion 1.5. These are several times as many as a
    /// request uses, so what it uses stays.
    /// </summary>
    private const int MostGraphs = 64;

    private readonly ConcurrentDictionary<(ModelPart Part, string Name), WeightStore<T>> stores = [];
    private readonly ConcurrentDictionary<(ModelPart Part, string Name), Kept> graphs = [];
    private long uses;

    /// <summary>Whether a part leaves when another one is needed.</summary>
    public bool TakeTurns => takeTurns;

    /// <summary>While it is set nothing leaves: parts that are asked for meanwhile come beside those that are there.</summary>
    public bool IsHeld { get; set; }

    /// <summary>Graphs of different weights may be asked for at the same time, unless parts take turns.</summary>
    /// <param name="part">What leaves together: the autoencoder's halves are one part.</param>
    /// <param name="store">Which weights; opened when they are first needed.</param>
    /// <param name="open">Opens them.</param>
    /// <param name="key">Which graph.</param>
    /// <param name="record">Records it.</param>
    /// <param name="cancellationToken">Stops the loading.</param>
    public CompiledGraph<T> Get(
        ModelPart part, string store, Func<IWeightSource> open, string key, Func<Graph> record, CancellationToken cancellationToken)
    {
        if (graphs.TryGetValue((part, key), out var kept))
        {
            kept.LastUse = Interlocked.Increment(ref uses);
            kept.Graph.Reserve();
            return kept.Graph;
        }

        if (takeTurns && !IsHeld)
        {
            MakeRoom(p => p != part);
        }

        try
        {
            var stored = stores.GetOrAdd((part, store), _ => new WeightStore<T>(device, open()));
            var graph = CompiledGraph<T>.Compile(record(), fusion, device, kernels, stored, workspace, cancellationToken);
            graphs[(part, key)] = new Kept(graph) { LastUse = Interlocked.Increment(ref uses) };
            if (graphs.Count > MostGraphs)
            {
                var oldest = graphs.MinBy(g => g.Value.LastUse).Key;
                device.Stream.Synchronize();
                RemoveGraphs(k => k == oldest);
            }

            return graph;
        }
        catch when (takeTurns)
        {
            // Memory of weights that were read in part must not stay beside what is loaded next.
            MakeRoom(p => p == part);
            throw;
        }
    }

    /// <summary>A graph that is there; null where it is not.</summary>
    public CompiledGraph<T>? Find(ModelPart part, string key) => graphs.TryGetValue((part, key), out var kept) ? kept.Graph : null;

    /// <summary>Bytes that the arena may grow to when this part is needed next, in one buffer.</summary>
    /// <param name="part">What it is for.</param>
    /// <param name="record">A graph that has the part's weights.</param>
    public long ArenaBudget(ModelPart part, Func<Graph> record)
    {
        var leaving = takeTurns && !IsHeld ? stores.Where(s => s.Key.Part != part).Sum(s => s.Value.Bytes) : 0;
        var coming = stores.Keys.Any(k => k.Part == part) ? 0 : CompiledGraph<T>.MeasureWeights(record());
        return Math.Min(device.FreeBytesAfter(leaving - coming) + workspace.AllocatedArenaBytes, device.LargestBuffer);
    }

    /// <summary>
    /// Drops all graphs and the memory that they share, after an error of the device: what did not fit must not be asked for again by those that did. They are
    /// made anew when they are needed.
    /// </summary>
    public void ForgetGraphs()
    {
        if (takeTurns)
        {
            MakeRoom(_ => true);
        }

        device.Stream.Synchronize();
        RemoveGraphs(_ => true);
        workspace.Clear();
    }

    public void Dispose()
    {
        foreach (var kept in graphs.Values)
        {
            kept.Graph.Dispose();
        }

        foreach (var store in stores.Values)
        {
            store.Dispose();
        }
    }

    /// <summary>Graphs hold views of their weights, so both leave together; memory that all graphs share goes with the last one.</summary>
    private void MakeRoom(Func<ModelPart, bool> leaves)
    {
        var leaving = stores.Where(s => leaves(s.Key.Part)).ToList();
        if (leaving.Count == 0)
        {
            return;
        }

        // A run that was cancelled may have left launches behind.
        device.Stream.Synchronize();
        RemoveGraphs(k => leaves(k.Part));
        foreach (var (key, store) in leaving)
        {
            stores.TryRemove(key, out _);
            store.Dispose();
        }

        if (graphs.IsEmpty)
        {
            workspace.Clear();
        }
    }

    private void RemoveGraphs(Func<(ModelPart Part, string Name), bool> leaves)
    {
        foreach (var key in graphs.Keys.Where(leaves))
        {
            if (graphs.TryRemove(key, out var kept))
            {
                kept.Graph.Dispose();
            }
        }
    }

    private sealed class Kept(CompiledGraph<T> graph)
    {
        public CompiledGraph<T> Graph => graph;

        public long LastUse { get; set; }
    }
}
