using System.Runtime.CompilerServices;
using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Devices;

namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>How much memory some programs need of a <see cref="Workspace{T}"/>.</summary>
internal readonly record struct WorkspaceNeeds(long ArenaBytes = 0, long ScratchValues = 0, long MomentValues = 0, int Launches = 0)
{
    /// <summary>What serves both, one after the other.</summary>
    public WorkspaceNeeds Or(WorkspaceNeeds other) => new(
        Math.Max(ArenaBytes, other.ArenaBytes), Math.Max(ScratchValues, other.ScratchValues), Math.Max(MomentValues, other.MomentValues),
        Math.Max(Launches, other.Launches));
}

/// <summary>
/// The memory that all programs of a pipeline share: the arena of activations, the kernels' scratch, and the tile counters.
/// What a graph needs is reserved when it is compiled or asked for; memory is allocated, and grown, when a program is about to run.
/// What lies in the arena is lost when it grows, or when a program of another graph runs.
/// </summary>
internal sealed class Workspace<T>(DeviceSession device) : IDisposable where T : unmanaged
{
    private readonly Growing<T> arena = new(device);
    private readonly Growing<float> scratch = new(device);
    private readonly Growing<float> moments = new(device);
    private readonly Growing<int> counters = new(device);
    private readonly HostMemory<float>?[] staging = new HostMemory<float>?[2];

    public ArrayView<T> Arena => arena.View;

    /// <summary>One part a group.</summary>
    public ArrayView<float> Scratch => scratch.View;

    /// <summary>What a group norm's launches hand to one another.</summary>
    public ArrayView<float> Moments => moments.View;

    /// <summary>One element a launch.</summary>
    public ArrayView<int> Counters => counters.View;

    public long ArenaBytes => arena.Count * Unsafe.SizeOf<T>();

    /// <summary>What of the arena is allocated by now.</summary>
    public long AllocatedArenaBytes => arena.Allocated * Unsafe.SizeOf<T>();

    /// <summary>Counts up whenever memory is allocated: as long as it stays the same, so do all views.</summary>
    public int Allocations => arena.Allocations + scratch.Allocations + moments.Allocations + counters.Allocations;

    /// <summary>Graphs may be compiled side by side.</summary>
    public void Reserve(WorkspaceNeeds needs)
    {
        lock (arena)
        {
            arena.Count = Math.Max(arena.Count, (needs.ArenaBytes + Unsafe.SizeOf<T>() - 1) / Unsafe.SizeOf<T>());
            scratch.Count = Math.Max(scratch.Count, needs.ScratchValues);
            moments.Count = Math.Max(moments.Count, needs.MomentValues);
            counters.Count = Math.Max(counters.Count, needs.Launches);
        }
    }

    /// <summary>Allocates what has been reserved, as a program's run does.</summary>
    public void Allocate() => _ = (Arena, Scratch, Moments, Counters);

    /// <summary>The tile counter of a launch outside of any program.</summary>
    public ArrayView<int> FreshCounter(AcceleratorStream stream)
    {
        var counter = Counters.SubView(0, 1);
        counter.MemSetToZero(stream);
        return counter;
    }

    /// <summary>
    /// Memory of the processor on the way to the device, one of two in turn. It is kept for the next picture: locking it takes a driver as long as some kernels,
    /// and may have it wait for the device.
    /// </summary>
    /// <param name="turn">Counts up. The device must be done with what was two turns before.</param>
    /// <param name="length">Values, the same as long as anything is under way.</param>
    public HostMemory<float> Staging(int turn, int length)
    {
        ref var memory = ref staging[turn % staging.Length];
        if (memory?.Span.Length != length)
        {
            memory?.Dispose();
            memory = null;
            memory = new HostMemory<float>(device.Accelerator, length);
        }

        return memory;
    }

    /// <summary>Frees the memory and forgets what was reserved: a graph that is used afterwards must reserve anew.</summary>
    public void Clear()
    {
        lock (arena)
        {
            arena.Clear();
            scratch.Clear();
            moments.Clear();
            counters.Clear();
            foreach (ref var memory in staging.AsSpan())
            {
                memory?.Dispose();
                memory = null;
            }
        }
    }

    public void Dispose() => Clear();

    private sealed class Growing<TElement>(DeviceSession device) where TElement : unmanaged
    {
        private DeviceBuffer<TElement>? buffer;

        public long Count { get; set; } = 1;

        public long Allocated => buffer?.Length ?? 0;

        public int Allocations { get; private set; }

        public ArrayView<TElement> View
        {
            get
            {
                if (buffer is null || buffer.Length < Count)
                {
                    buffer?.Dispose();
                    buffer = null;
                    buffer = device.Allocate<TElement>(Count);
                    Allocations++;
                }

                return buffer.View;
            }
        }

        public void Clear()
        {
            buffer?.Dispose();
            buffer = null;
            Count = 1;
        }
    }
}
