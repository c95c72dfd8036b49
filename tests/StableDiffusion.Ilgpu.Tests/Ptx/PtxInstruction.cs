namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>Does an instruction's work for the lanes of a mask.</summary>
internal delegate void Execute(Warp warp, uint mask);

internal enum InstructionKind
{
    /// <summary>Each lane for itself.</summary>
    Plain,

    /// <summary>All lanes of the warp that have not returned, at the same time.</summary>
    Converged,
    Barrier,
    Branch,

    /// <summary>A branch to one of several labels.</summary>
    Table,
    Return,
}

/// <summary>An instruction, ready to be executed.</summary>
internal sealed class PtxInstruction(PtxStatement statement, InstructionKind kind)
{
    public InstructionKind Kind => kind;

    public PtxStatement Statement => statement;

    public Execute? Body { get; init; }

    /// <summary>The predicate that decides whether a lane executes it.</summary>
    public Slot? Guard { get; init; }

    /// <summary>Instructions that it may branch to.</summary>
    public int[] Targets { get; set; } = [];

    /// <summary>For a barrier of some of the block's threads: its number, and how many threads it waits for.</summary>
    public (Slot Number, int Threads)? Named { get; init; }

    /// <summary>Which of the targets.</summary>
    public Slot Selector { get; init; }
}
