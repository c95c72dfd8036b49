using System.Runtime.ExceptionServices;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>A launch of a kernel: its blocks, its arguments, and the memory that it may touch.</summary>
internal sealed class PtxLaunch
{
    /// <summary>Shared memory that any block may have; more must be asked for.</summary>
    public const int OrdinarySharedBytes = 48 * 1024;

    /// <summary>Shared memory that a block may ask for.</summary>
    /// <param name="architecture">90 for compute capability 9.0.</param>
    public static int MostSharedBytes(int architecture) => architecture switch
    {
        80 or 87 => 163 * 1024,
        86 or 89 or >= 120 => 99 * 1024,
        >= 90 => 227 * 1024,
        75 => 64 * 1024,
        _ => OrdinarySharedBytes,
    };

    public required PtxProgram Program { get; init; }

    public required (int X, int Y, int Z) Grid { get; init; }

    public required (int X, int Y, int Z) Group { get; init; }

    public int DynamicSharedBytes { get; init; }

    public required byte[] Parameters { get; init; }

    public required GlobalMemory Global { get; init; }

    public CopyLanding Landing { get; init; }

    public GlobalAccesses Accesses { get; } = new();

    public int Threads => Group.X * Group.Y * Group.Z;

    /// <summary>Runs all blocks, on as many threads as there are cores.</summary>
    /// <exception cref="PtxException">The kernel does what it must not, or what is not interpreted.</exception>
    public PtxStatistics Run()
    {
        if (Parameters.Length != Program.ParameterBytes)
        {
            throw new PtxException($"{Program.Name}: {Parameters.Length} bytes of parameters, {Program.ParameterBytes} expected");
        }

        if (Threads < 1 || Threads > Program.MaxThreads)
        {
            throw new PtxException($"{Program.Name}: {Threads} threads a block, {Program.MaxThreads} at most");
        }

        var statistics = new PtxStatistics();
        try
        {
            Parallel.For(
                0, Grid.X * Grid.Y * Grid.Z,
                new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount },
                () => PtxBlock.For(this),
                (index, _, block) =>
                {
                    block.Run(index);
                    return block;
                },
                block =>
                {
                    lock (statistics)
                    {
                        statistics.Add(block.Finish());
                    }
                });
        }
        catch (AggregateException e) when (e.InnerExceptions.OfType<PtxException>().FirstOrDefault() is { } first)
        {
            ExceptionDispatchInfo.Throw(first);
        }

        return statistics;
    }
}
