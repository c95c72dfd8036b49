using System.Collections.Concurrent;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>A kernel, parsed.</summary>
internal sealed class PtxProgram
{
    /// <summary>Not zero, so that a kernel which takes shared memory to begin at zero fails.</summary>
    public const int SharedBase = 1024;

    /// <summary>The address of dynamic shared memory, as a special register.</summary>
    public const string DynamicShared = "dynamic shared memory";

    /// <summary>The same with 32 bits.</summary>
    public const string DynamicShared32 = "dynamic shared memory, 32 bits";

    private bool? hasNamedBarriers;

    public required string Name { get; init; }

    public required PtxInstruction[] Instructions { get; init; }

    /// <summary>Whether some barriers are for some of a block's warps.</summary>
    public bool HasNamedBarriers => hasNamedBarriers ??= Array.Exists(Instructions, i => i.Named is not null);

    public required RegisterLayout Registers { get; init; }

    public required int ParameterBytes { get; init; }

    /// <summary>Of all variables whose size is known.</summary>
    public required int StaticSharedBytes { get; init; }

    /// <summary>Threads that a block may have, where the kernel says so; otherwise 1024.</summary>
    public required int MaxThreads { get; init; }

    /// <summary>Where dynamic shared memory begins: aligned to 16 bytes.</summary>
    public int DynamicSharedOffset => (StaticSharedBytes + 15) & ~15;

    /// <summary>What earlier launches ran in.</summary>
    public ConcurrentBag<PtxBlock> IdleBlocks { get; } = [];

    public static PtxProgram Parse(string text) => new PtxParser(text).Parse();
}
