using System.Runtime.CompilerServices;
using ILGPU;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>Named ranges of device memory, many in one allocation: a large one can lie on large pages.</summary>
internal sealed class WeightMemory<T>(DeviceSession device) : IDisposable where T : unmanaged
{
    /// <summary>Elements that an allocation has at most, unless a single range needs more: devices limit the size of one.</summary>
    private const long LargestBlock = 1 << 27;

    private readonly List<(DeviceBuffer<T> Buffer, string[] Keys)> blocks = [];
    private readonly Dictionary<string, ArrayView<T>> ranges = [];

    /// <summary>Bytes that are allocated.</summary>
    public long Bytes => blocks.Sum(b => b.Buffer.Length) * Unsafe.SizeOf<T>();

    public ArrayView<T> this[string key] => ranges[key];

    public bool Contains(string key) => ranges.ContainsKey(key);

    /// <summary>Allocates ranges; what lies in them is not defined.</summary>
    public void Reserve(IEnumerable<(string Key, long Count)> wanted)
    {
        var (pending, total) = (new List<(string Key, long Offset, long Count)>(), 0L);
        foreach (var (key, count) in wanted)
        {
            if (total + count > LargestBlock && total > 0)
            {
                Allocate();
            }

            pending.Add((key, total, count));

            // Every range starts on a cache line.
            total += (count + Tile.Columns - 1) / Tile.Columns * Tile.Columns;
        }

        if (total > 0)
        {
            Allocate();
        }

        void Allocate()
        {
            var block = device.Allocate<T>(total);
            blocks.Add((block, [.. pending.Select(p => p.Key)]));
            foreach (var (key, offset, count) in pending)
            {
                ranges.Add(key, block.View.SubView(offset, count));
            }

            pending.Clear();
            total = 0;
        }
    }

    /// <summary>Ranges that were not filled must not be taken for weights later. An allocation goes with the last of its ranges.</summary>
    public void Forget(IEnumerable<string> keys)
    {
        foreach (var key in keys)
        {
            ranges.Remove(key);
        }

        foreach (var unused in blocks.Where(b => !b.Keys.Any(ranges.ContainsKey)).ToList())
        {
            blocks.Remove(unused);
            unused.Buffer.Dispose();
        }
    }

    public void Dispose()
    {
        blocks.ForEach(b => b.Buffer.Dispose());
        blocks.Clear();
        ranges.Clear();
    }
}
