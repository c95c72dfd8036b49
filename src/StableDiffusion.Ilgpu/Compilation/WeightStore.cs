using System.Buffers;
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
    /// <summary>Values that a thread reads and packs at a time: some megabytes, so that threads end at about the same time.</summary>
    private const int WorkValues = 1 << 20;

    private readonly WeightMemory<T> values = new(device);
    private readonly WeightMemory<float> vectors = new(device);
    private readonly WeightStaging staging = new(device);

    /// <summary>Whether values are packed into memory of the processor first and copied to the device's then.</summary>
    public bool IsStaged { get; init; } = !device.IsHost;

    /// <summary>Bytes of device memory that they take.</summary>
    public long Bytes => values.Bytes + vectors.Bytes;

    /// <summary>Reads and packs whatever these operations need and the store has not yet.</summary>
    public void Prepare(IEnumerable<Op> ops, int threads, CancellationToken cancellationToken = default)
    {
        var missing = Missing(ops);
        try
        {
            Reserve(missing);
            Action[] work = [.. missing.SelectMany(i => i.Load())];
            Dedicated.For(work.Length, threads, i => work[i](), cancellationToken);
        }
        catch
        {
            values.Forget(missing.Select(i => i.Key));
            vectors.Forget(missing.Select(i => i.Key));
            throw;
        }
        finally
        {
            staging.Dispose();
        }
    }

    /// <summary>Makes room and reads nothing: for launches that are looked at and not run.</summary>
    public void Reserve(IEnumerable<Op> ops) => Reserve(Missing(ops));

    public ArrayView<T> Panels(Contraction op) => values[PanelsKey(op)];

    public ArrayView<float> Bias(Contraction op) => vectors[BiasKey(op)];

    public ArrayView<float> Vector(Weight weight) => vectors[weight.Name];

    public ArrayView<T> Table(Weight weight) => values[weight.Name];

    public ArrayView<float> Frequencies(TimestepEmbedding op) => vectors[op.ToString()];

    public void Dispose()
    {
        values.Dispose();
        vectors.Dispose();
        source.Dispose();
    }

    private static string PanelsKey(Contraction op) => string.Join('+', op.Parts.Select(p => p.Kernel.Name)) + (op.Geglu ? " geglu" : "");

    private static string BiasKey(Contraction op) => PanelsKey(op) + " bias";

    private Item[] Missing(IEnumerable<Op> ops) =>
        [.. ops.SelectMany(Needs).DistinctBy(i => i.Key).Where(i => !values.Contains(i.Key) && !vectors.Contains(i.Key))];

    private void Reserve(Item[] missing)
    {
        values.Reserve(missing.Where(i => !i.IsVector).Select(i => (i.Key, i.Count)));
        vectors.Reserve(missing.Where(i => i.IsVector).Select(i => (i.Key, i.Count)));
    }

    private IEnumerable<Item> Needs(Op op) => op switch
    {
        Contraction c => [PanelsOf(c), BiasOf(c)],
        GroupNorm n => [VectorOf(n.Scale), VectorOf(n.Offset)],
        LayerNorm n => [VectorOf(n.Scale), VectorOf(n.Offset)],
        TokenEmbedding e => [TableOf(e.Tokens), TableOf(e.Positions)],
        TimestepEmbedding t => [FrequenciesOf(t)],
        _ => [],
    };

    private Item PanelsOf(Contraction op)
    {
        var (key, panels, size) = (PanelsKey(op), WeightPacker.Panels(op), WeightPacker.Depth(op) * Tile.Columns);
        return new(key, false, (long)panels * size, () => Divide(
            new WeightRows<T>(source, op.Parts.Select(p => p.Kernel)), panels, size,
            (rows, first, count) => Fill(values[key], (long)first * size, count * size, packed =>
            {
                for (var panel = 0; panel < count; panel++)
                {
                    LoadPanel(op, rows, first + panel, packed.Slice(panel * size, size));
                }
            })));
    }

    private static void LoadPanel(Contraction op, WeightRows<T> rows, int panel, Span<T> packed)
    {
        // The pool gives a thread the array that it had last: its pages are there, and in the cache.
        var array = ArrayPool<T>.Shared.Rent(packed.Length);
        var columns = array.AsSpan(0, packed.Length);
        var filled = 0;
        foreach (var (column, firstRow, count) in WeightPacker.RowsOf(op, panel))
        {
            filled = (column + count) * rows.Width;
            rows.Read(firstRow, columns[(column * rows.Width)..filled]);
        }

        columns[filled..].Clear();
        WeightPacker.Pack<T>(columns, op.Window.Kernel * op.Window.Kernel, packed);
        ArrayPool<T>.Shared.Return(array);
    }

    private Item BiasOf(Contraction op)
    {
        var (key, columns) = (BiasKey(op), WeightPacker.Panels(op) * Tile.Columns);
        return new(key, true, columns, () => [() => Fill(vectors[key], 0, columns, packed =>
        {
            packed.Clear();
            var row = 0;
            foreach (var (kernel, bias) in op.Parts)
            {
                var stored = new float[kernel.Shape[0]];
                if (bias is not null)
                {
                    source.Read(bias.Name, stored);
                }

                foreach (var value in stored)
                {
                    packed[WeightPacker.PackedColumn(op, row++)] = value;
                }
            }
        })]);
    }

    private Item VectorOf(Weight weight)
    {
        var count = checked((int)weight.Shape.Aggregate(1L, (a, b) => a * b));
        return new(weight.Name, true, count, () => [() => Fill(vectors[weight.Name], 0, count, vector => source.Read(weight.Name, vector))]);
    }

    private Item TableOf(Weight weight)
    {
        var (rows, width) = ((int)weight.Shape[0], (int)weight.Shape[1]);
        return new(weight.Name, false, (long)rows * width, () => Divide(
            new WeightRows<T>(source, weight), rows, width,
            (table, first, count) => Fill(values[weight.Name], (long)first * width, count * width, part => table.Read(first, part))));
    }

    private Item FrequenciesOf(TimestepEmbedding op)
    {
        var (key, half) = (op.ToString(), op.Size / 2);
        return new(key, true, half, () => [() => Fill(vectors[key], 0, half, frequencies =>
        {
            for (var k = 0; k < half; k++)
            {
                frequencies[k] = (float)Math.Pow(10000, -k / (half - op.FrequencyShift));
            }
        })]);
    }

    /// <summary>Tasks that each load some parts (the first and their number); one for all where the rows cannot be read in parts.</summary>
    private static IEnumerable<Action> Divide(WeightRows<T> rows, int parts, int partSize, Action<WeightRows<T>, int, int> load)
    {
        var step = Math.Max(1, WorkValues / partSize);
        IEnumerable<Action> tasks = Enumerable.Range(0, (parts + step - 1) / step).Select<int, Action>(
            i => () => load(rows, i * step, Math.Min(step, parts - (i * step))));
        return rows.AreStored ? tasks : [() =>
        {
            using (rows)
            {
                rows.ReadWhole();
                foreach (var task in tasks)
                {
                    task();
                }
            }
        }];
    }

    private unsafe void Fill<TElement>(ArrayView<TElement> target, long first, int count, Filling<TElement> fill) where TElement : unmanaged
    {
        var part = target.SubView(first, count);
        if (!IsStaged)
        {
            fill(new Span<TElement>((void*)part.LoadEffectiveAddressAsPtr(), count));
            return;
        }

        staging.Copy(part, fill);
    }

    /// <summary>Something that an operation reads, under a name of its own.</summary>
    /// <param name="Key">The name.</param>
    /// <param name="IsVector">Whether it is fp32 whatever T is.</param>
    /// <param name="Count">Its elements.</param>
    /// <param name="Load">The tasks that fill it, when its memory is there; they may run side by side.</param>
    private sealed record Item(string Key, bool IsVector, long Count, Func<IEnumerable<Action>> Load);
}
