namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>
/// Which accesses of other warps come before a warp's next ones, in a block whose barriers are for some of its warps: what each warp that arrives has done, and knows
/// to be done, is known to those that wait there. Between two barriers a warp is in an interval with a number; the four of a warpgroup that go through the same
/// barriers are in the same one.
/// </summary>
internal sealed class BarrierOrder
{
    private readonly int[] intervals;
    private readonly int[][] known;
    private readonly Dictionary<int, Generation> open = [];
    private readonly Dictionary<int, Generation> closed = [];
    private int last;

    public BarrierOrder(int warps)
    {
        if (warps > 2 * Warpgroup.Warps)
        {
            throw new PtxException($"barriers of some warps are interpreted in blocks of two warpgroups at most, and the block has {warps} warps");
        }

        intervals = new int[warps];
        known = [.. Enumerable.Range(0, warps).Select(_ => new int[warps])];
    }

    /// <summary>Before a block's first instruction: nothing of what ran before counts any more.</summary>
    public void Reset()
    {
        closed.Clear();
        Array.Fill(intervals, ++last);
        foreach (var row in known)
        {
            Array.Fill(row, last);
        }
    }

    /// <summary>Behind a block's last instruction.</summary>
    public void RequireClosed()
    {
        if (open.Count > 0)
        {
            throw new PtxException($"warps have arrived at barrier {open.Keys.First()}, and nobody waits there");
        }
    }

    /// <summary>Intervals are counted from the beginning.</summary>
    public void Restart() => last = 0;

    /// <summary>The interval that a warp is in.</summary>
    public int Interval(int warp) => intervals[warp];

    /// <summary>Whether what another warp did in an interval comes before what a warp does now.</summary>
    public bool IsKnown(int warp, int other, int interval) => interval < known[warp][other];

    /// <summary>A warp arrives at a barrier, whether it waits there or not.</summary>
    public void Arrive(int warp, int number, int threads)
    {
        RequireArrivals(warp, number);
        if (!open.TryGetValue(number, out var generation))
        {
            open.Add(number, generation = new Generation(threads, known.Length));
        }

        if (generation.Threads != threads)
        {
            throw new PtxException($"barrier {number} waits for {generation.Threads} and for {threads} threads");
        }

        if (!generation.Next.TryGetValue(warp / Warpgroup.Warps, out var next))
        {
            generation.Next.Add(warp / Warpgroup.Warps, next = ++last);
        }

        generation.Arrived += Warp.Size;
        for (var other = 0; other < known.Length; other++)
        {
            generation.Known[other] = Math.Max(generation.Known[other], known[warp][other]);
        }

        (generation.Known[warp], generation.Arrivals[warp], intervals[warp]) = (next, next, next);
    }

    /// <summary>A device counts threads, not which ones they are: who comes back must know that nobody is still to come whom the barrier waited for the last time.</summary>
    private void RequireArrivals(int warp, int number)
    {
        for (var other = 0; closed.TryGetValue(number, out var before) && other < known.Length; other++)
        {
            if (other != warp && known[warp][other] < before.Arrivals[other])
            {
                throw new PtxException($"warp {warp} comes to barrier {number} again without a barrier after warp {other} came there");
            }
        }
    }

    /// <summary>The barriers at which as many threads have arrived as they wait for: those who wait at them go on.</summary>
    public List<int> Full()
    {
        List<int> full = [.. open.Where(barrier => barrier.Value.Arrived >= barrier.Value.Threads).Select(barrier => barrier.Key)];
        foreach (var number in full.Where(number => open[number].Arrived > open[number].Threads))
        {
            throw new PtxException($"{open[number].Arrived} threads arrive at barrier {number}, which waits for {open[number].Threads}");
        }

        return full;
    }

    /// <summary>A warp goes on behind a full barrier.</summary>
    public void Learn(int warp, int number)
    {
        for (var other = 0; other < known.Length; other++)
        {
            known[warp][other] = Math.Max(known[warp][other], open[number].Known[other]);
        }
    }

    /// <summary>All who waited at a full barrier have gone on.</summary>
    public void Close(int number)
    {
        closed[number] = open[number];
        open.Remove(number);
    }

    /// <summary>A barrier, until all have arrived.</summary>
    private sealed class Generation(int threads, int warps)
    {
        public int Threads => threads;

        public int Arrived { get; set; }

        public int[] Known { get; } = new int[warps];

        /// <summary>The interval behind it of each warp that arrived, 0 of others.</summary>
        public int[] Arrivals { get; } = new int[warps];

        /// <summary>The interval behind it, by warpgroup.</summary>
        public Dictionary<int, int> Next { get; } = [];
    }
}
