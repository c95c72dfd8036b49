namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>
/// Byte offsets of a placement's roots in one arena:
/// <code>
/// | snapshot: schedule → step | other persistent roots | roots that share memory, by MemoryPlanner |
/// </code>
/// </summary>
internal sealed class ArenaPlan
{
    private readonly long[] offsets;

    private ArenaPlan(long[] offsets) => this.offsets = offsets;

    /// <summary>Size of the arena.</summary>
    public long Bytes { get; private init; }

    /// <summary>Size of its first part, which keeps its content between runs.</summary>
    public long PersistentBytes { get; private init; }

    /// <summary>
    /// The region of all roots that the schedule's program leaves for the step's, in bytes: kept for every timestep, it
    /// replaces running the schedule's program again. Length 0 where there are none.
    /// </summary>
    public (long Offset, long Length) Snapshot { get; private init; }

    /// <param name="placement">Roots and their lifetimes.</param>
    /// <param name="activationBytes">Size of an activation: 2 or 4.</param>
    public static ArenaPlan Create(Placement placement, int activationBytes)
    {
        var offsets = new long[placement.Roots.Count];
        var snapshot = 0L;
        var persistent = 0L;
        foreach (var root in placement.Roots.Where(r => r.Persistent).OrderByDescending(r => r.EntersStep))
        {
            offsets[root.Index] = persistent;
            persistent += MemoryPlanner.Align(root.Bytes(activationBytes));
            snapshot = root.EntersStep ? persistent : snapshot;
        }

        var shared = placement.Roots.Where(r => !r.Persistent).ToArray();
        var (relative, total) = MemoryPlanner.Plan([.. shared.Select(r => new BufferRequest(r.Bytes(activationBytes), r.First, r.Last))]);
        foreach (var (root, offset) in shared.Zip(relative))
        {
            offsets[root.Index] = persistent + offset;
        }

        return new ArenaPlan(offsets) { Bytes = persistent + total, PersistentBytes = persistent, Snapshot = (0, snapshot) };
    }

    /// <summary>Where a root starts, in bytes; a multiple of <see cref="MemoryPlanner.Alignment"/>.</summary>
    public long OffsetOf(StorageRoot root) => offsets[root.Index];
}
