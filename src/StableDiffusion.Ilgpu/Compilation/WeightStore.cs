using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>
/// A component's weights on the device, packed as the kernels read them. Graphs of the same component in other sizes share them.
/// </summary>
internal sealed class WeightStore<T>(DeviceSession device, IWeightSource source) : IDisposable where T : unmanaged
{
    private readonly Dictionary<string, IDisposable> buffers = [];

    /// <summary>Reads and packs whatever these operations need and the store has not yet.</summary>
    public void Prepare(IEnumerable<Op> ops, int threads, CancellationToken cancellationToken = default)
    {
        var work = ops.SelectMany(Missing).DistinctBy(w => w.Key).ToArray();
        Dedicated.For(work.Length, threads, i => work[i].Load(), cancellationToken);
    }

    public ArrayView<T> Panels(Contraction op) => Get<T>(PanelsKey(op));

    public ArrayView<float> Bias(Contraction op) => Get<float>(BiasKey(op));

    public ArrayView<float> Vector(Weight weight) => Get<float>(weight.Name);

    public ArrayView<T> Table(Weight weight) => Get<T>(weight.Name);

    public ArrayView<float> Frequencies(TimestepEmbedding op) => Get<float>(op.ToString());

    public void Dispose()
    {
        foreach (var buffer in buffers.Values)
        {
            buffer.Dispose();
        }

        buffers.Clear();
        source.Dispose();
    }

    private static string PanelsKey(Contraction op) => string.Join('+', op.Parts.Select(p => p.Kernel.Name)) + (op.Geglu ? " geglu" : "");

    private static string BiasKey(Contraction op) => PanelsKey(op) + " bias";

    private ArrayView<TElement> Get<TElement>(string key) where TElement : unmanaged => ((DeviceBuffer<TElement>)buffers[key]).View;

    private IEnumerable<(string Key, Action Load)> Missing(Op op)
    {
        IEnumerable<(string Key, Action Load)> all = op switch
        {
            Contraction c => [(PanelsKey(c), () => LoadPanels(c)), (BiasKey(c), () => LoadBias(c))],
            GroupNorm n => [Vector(n.Scale), Vector(n.Offset)],
            LayerNorm n => [Vector(n.Scale), Vector(n.Offset)],
            TokenEmbedding e => [Rows(e.Tokens), Rows(e.Positions)],
            TimestepEmbedding t => [(t.ToString(), () => LoadFrequencies(t))],
            _ => [],
        };
        return all.Where(w => !buffers.ContainsKey(w.Key));

        (string, Action) Vector(Weight weight) => (weight.Name, () => LoadVector(weight));
        (string, Action) Rows(Weight weight) => (weight.Name, () => LoadTable(weight));
    }

    private void LoadPanels(Contraction op)
    {
        using var panels = new HostArray<T>((long)WeightPacker.Panels(op) * WeightPacker.Depth(op) * Tile.Columns);
        panels.Span.Clear();
        var row = 0;
        foreach (var (kernel, _) in op.Parts)
        {
            using var part = new HostArray<T>(Count(kernel));
            Read(kernel, part.Span);
            WeightPacker.Pack<T>(op, row, part.Span, panels.Span);
            row += (int)kernel.Shape[0];
        }

        Upload<T>(PanelsKey(op), panels.Span);
    }

    private void LoadBias(Contraction op)
    {
        var packed = new float[WeightPacker.Panels(op) * Tile.Columns];
        var row = 0;
        foreach (var (kernel, bias) in op.Parts)
        {
            var values = new float[kernel.Shape[0]];
            if (bias is not null)
            {
                source.Read(bias.Name, values);
            }

            foreach (var value in values)
            {
                packed[WeightPacker.PackedColumn(op, row++)] = value;
            }
        }

        Upload<float>(BiasKey(op), packed);
    }

    private void LoadVector(Weight weight)
    {
        var values = new float[Count(weight)];
        source.Read(weight.Name, values);
        Upload<float>(weight.Name, values);
    }

    private void LoadTable(Weight weight)
    {
        using var table = new HostArray<T>(Count(weight));
        Read(weight, table.Span);
        Upload<T>(weight.Name, table.Span);
    }

    private void LoadFrequencies(TimestepEmbedding op)
    {
        var half = op.Size / 2;
        Upload<float>(op.ToString(), [.. Enumerable.Range(0, half).Select(k => (float)Math.Pow(10000, -k / (half - op.FrequencyShift)))]);
    }

    private void Read(Weight weight, Span<T> target)
    {
        if (typeof(T) == typeof(float))
        {
            source.Read(weight.Name, MemoryMarshal.Cast<T, float>(target));
        }
        else
        {
            source.Read(weight.Name, MemoryMarshal.Cast<T, ushort>(target));
        }
    }

    private void Upload<TElement>(string key, ReadOnlySpan<TElement> values) where TElement : unmanaged
    {
        lock (buffers)
        {
            var buffer = device.Allocate<TElement>(values.Length);
            buffers.Add(key, buffer);
            buffer.View.SubView(0, values.Length).CopyFromCPU(device.Stream, values);
            device.Stream.Synchronize();
        }
    }

    private static int Count(Weight weight) => checked((int)weight.Shape.Aggregate(1L, (a, b) => a * b));

    /// <summary>Memory that goes back to the system at once, not when the garbage collector sees fit.</summary>
    private sealed unsafe class HostArray<TElement>(long count) : IDisposable where TElement : unmanaged
    {
        private readonly TElement* data = (TElement*)NativeMemory.Alloc((nuint)count, (nuint)Unsafe.SizeOf<TElement>());

        public Span<TElement> Span => new(data, checked((int)count));

        public void Dispose() => NativeMemory.Free(data);
    }
}
