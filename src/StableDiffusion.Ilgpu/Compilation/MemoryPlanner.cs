namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>Memory that is needed from one position to another, both included.</summary>
internal readonly record struct BufferRequest(long Bytes, int First, int Last)
{
    public bool IsLiveWith(BufferRequest other) => First <= other.Last && other.First <= Last;
}

/// <summary>
/// Gives buffers offsets in one arena such that no two that are live at the same time overlap. Greedy: the largest first, each into
/// the smallest gap that holds it between the buffers it is live with.
/// </summary>
internal static class MemoryPlanner
{
    /// <summary>Of every offset, in bytes: one cache line, and the widest vector.</summary>
    public const int Alignment = 64;

    /// <returns>Byte offsets in the order of the requests, and the size of the arena in bytes.</returns>
    public static (long[] Offsets, long Total) Plan(IReadOnlyList<BufferRequest> requests)
    {
        var offsets = new long[requests.Count];
        var placed = new List<int>(requests.Count);
        var total = 0L;
        foreach (var index in Enumerable.Range(0, requests.Count).OrderByDescending(i => requests[i].Bytes).ThenBy(i => requests[i].First))
        {
            var size = Align(requests[index].Bytes);
            offsets[index] = FindGap(size, placed.Where(i => requests[i].IsLiveWith(requests[index])));
            total = Math.Max(total, offsets[index] + size);

            // Kept in the order of offsets, which is what FindGap walks along.
            var at = placed.FindIndex(i => offsets[i] > offsets[index]);
            placed.Insert(at < 0 ? placed.Count : at, index);
        }

        return (offsets, total);

        long FindGap(long size, IEnumerable<int> neighbours)
        {
            var (best, bestGap, end) = (-1L, long.MaxValue, 0L);
            foreach (var i in neighbours)
            {
                var gap = offsets[i] - end;
                if (gap >= size && gap < bestGap)
                {
                    (best, bestGap) = (end, gap);
                }

                end = Math.Max(end, offsets[i] + Align(requests[i].Bytes));
            }

            return best >= 0 ? best : end;
        }
    }

    public static long Align(long bytes) => (bytes + Alignment - 1) / Alignment * Alignment;
}
