namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>One thread block after the other: warps run in turn until each waits at a barrier. Its memory is large, so launches of a kernel hand it on.</summary>
internal sealed class PtxBlock
{
    private readonly Warp[] warps;
    private readonly Warpgroup[] warpgroups;
    private readonly BarrierOrder? order;
    private PtxLaunch launch;

    private PtxBlock(PtxLaunch launch)
    {
        this.launch = launch;
        order = launch.Program.HasNamedBarriers ? new BarrierOrder((launch.Threads + Warp.Size - 1) / Warp.Size) : null;
        Shared = new SharedMemory(launch.DynamicSharedBytes + launch.Program.DynamicSharedOffset, order);
        warps = [.. Enumerable.Range(0, (launch.Threads + Warp.Size - 1) / Warp.Size)
            .Select(w => new Warp(this, w, Math.Min(Warp.Size, launch.Threads - (w * Warp.Size))))];
        warpgroups = [.. Enumerable.Range(0, warps.Length / Warpgroup.Warps).Select(_ => new Warpgroup())];
    }

    /// <summary>A block of an earlier launch of the same kernel with the same threads and memory, or a new one. Ends with <see cref="Finish"/>.</summary>
    public static PtxBlock For(PtxLaunch launch)
    {
        while (launch.Program.IdleBlocks.TryTake(out var block))
        {
            if (block.launch.Threads == launch.Threads && block.launch.DynamicSharedBytes == launch.DynamicSharedBytes)
            {
                block.launch = launch;
                return block;
            }
        }

        return new PtxBlock(launch);
    }

    public PtxProgram Program => launch.Program;

    public byte[] Parameters => launch.Parameters;

    public GlobalMemory Global => launch.Global;

    public CopyLanding Landing => launch.Landing;

    /// <summary>Of global memory.</summary>
    public GlobalAccesses.OfBlock Accesses { get; } = new();

    public SharedMemory Shared { get; }

    public PtxStatistics Statistics { get; private set; } = new();

    public (int X, int Y, int Z) Index { get; private set; }

    public void Run(int index)
    {
        var (x, y, _) = launch.Grid;
        Index = (index % x, index / x % y, index / x / y);
        Shared.Reset(Statistics);
        Accesses.Begin(launch.Accesses, index);
        foreach (var warp in warps)
        {
            warp.Reset();
        }

        foreach (var warpgroup in warpgroups)
        {
            warpgroup.Clear();
        }

        do
        {
            foreach (var warp in warps)
            {
                if (!warp.IsWaiting)
                {
                    warp.Run();
                    if (warp.IsWaiting && order is not null)
                    {
                        var (number, threads) = warp.Barrier;
                        order.Arrive(warp.Number, number, threads == 0 ? launch.Threads : threads);
                    }
                }
            }

            Release();
        }
        while (warps.Any(w => w.Live != 0));
        order?.RequireClosed();

        foreach (var warp in warps.Take(warpgroups.Length * Warpgroup.Warps))
        {
            WarpgroupOf(warp).CheckCount(warp.Products.Issued);
        }
    }

    /// <summary>A warp arrives at a barrier and goes on.</summary>
    public void Arrive(Warp warp, (Slot Number, int Threads) named) => order!.Arrive(warp.Number, warp.NumberOf(named.Number), named.Threads);

    /// <summary>Every warp waits or has returned: those go on whose barriers all have reached.</summary>
    private void Release()
    {
        if (order is null)
        {
            Shared.Synchronize();
            foreach (var warp in warps.Where(w => w.IsWaiting))
            {
                warp.Release();
            }

            return;
        }

        var full = order.Full();
        if (full.Count == 0 && warps.Any(w => w.Live != 0))
        {
            throw new PtxException($"{Program.Name}, block {Index}: the warps wait for each other");
        }

        foreach (var warp in warps.Where(w => w.IsWaiting && full.Contains(w.Barrier.Number)))
        {
            order.Learn(warp.Number, warp.Barrier.Number);
            warp.Release();
        }

        full.ForEach(order.Close);
    }

    public Warpgroup WarpgroupOf(Warp warp) => warp.Number / Warpgroup.Warps < warpgroups.Length
        ? warpgroups[warp.Number / Warpgroup.Warps] : throw new PtxException($"four warps multiply together, and the block has {warps.Length}");

    /// <summary>What the launch's blocks executed that ran here.</summary>
    public PtxStatistics Finish()
    {
        var statistics = Statistics;
        statistics.Instructions = warps.Sum(w => w.TakeExecuted());
        Statistics = new PtxStatistics();
        Program.IdleBlocks.Add(this);
        return statistics;
    }

    /// <summary>The value of a special register in one thread.</summary>
    public ulong Special(string name, int thread)
    {
        var (threads, blocks, shared) = (launch.Group, launch.Grid, PtxProgram.SharedBase + Program.DynamicSharedOffset);
        var lane = thread % Warp.Size;
        var value = name switch
        {
            PtxProgram.DynamicShared or PtxProgram.DynamicShared32 => shared,
            "%tid.x" => thread % threads.X,
            "%tid.y" => thread / threads.X % threads.Y,
            "%tid.z" => thread / threads.X / threads.Y,
            "%ntid.x" => threads.X,
            "%ntid.y" => threads.Y,
            "%ntid.z" => threads.Z,
            "%ctaid.x" => Index.X,
            "%ctaid.y" => Index.Y,
            "%ctaid.z" => Index.Z,
            "%nctaid.x" => blocks.X,
            "%nctaid.y" => blocks.Y,
            "%nctaid.z" => blocks.Z,
            "%laneid" => lane,
            "%warpid" => thread / Warp.Size,
            "%nwarpid" => warps.Length,
            "%dynamic_smem_size" => launch.DynamicSharedBytes,
            "%total_smem_size" => Shared.Size,
            "%lanemask_eq" => 1L << lane,
            "%lanemask_lt" => (1L << lane) - 1,
            "%lanemask_le" => (2L << lane) - 1,
            "%lanemask_gt" => ~((2L << lane) - 1),
            "%lanemask_ge" => ~((1L << lane) - 1),
            _ => throw new PtxException($"{name} is not interpreted"),
        };
        return (ulong)value;
    }
}
