namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>How shared memory is accessed.</summary>
internal enum SharedAccess
{
    Load,
    Store,

    /// <summary><c>ldmatrix</c>.</summary>
    Matrix,

    /// <summary>Arrival of <c>cp.async</c>.</summary>
    Copy,
}

/// <summary>What launches executed.</summary>
internal sealed class PtxStatistics
{
    private readonly long[] accesses = new long[Enum.GetValues<SharedAccess>().Length];
    private readonly long[] extraPasses = new long[Enum.GetValues<SharedAccess>().Length];

    /// <summary>Instructions of warps.</summary>
    public long Instructions { get; set; }

    /// <summary><c>mma</c> instructions of warps, and each warp's part of <c>wgmma</c>.</summary>
    public long Products { get; set; }

    /// <summary>
    /// Passes over shared memory's 32 banks that accesses need at least: one for 128 bytes that warps access.
    /// </summary>
    public long Accesses(SharedAccess kind) => accesses[(int)kind];

    /// <summary>Passes that came on top because lanes wanted different words of one bank.</summary>
    public long ExtraPasses(SharedAccess kind) => extraPasses[(int)kind];

    public void Count(SharedAccess kind, int passes, int extra)
    {
        accesses[(int)kind] += passes;
        extraPasses[(int)kind] += extra;
    }

    public void Add(PtxStatistics other)
    {
        Instructions += other.Instructions;
        Products += other.Products;
        for (var i = 0; i < accesses.Length; i++)
        {
            accesses[i] += other.accesses[i];
            extraPasses[i] += other.extraPasses[i];
        }
    }

    public override string ToString() => $"{Instructions} instructions, {Products} mma, bank conflicts (extra passes of passes): "
        + string.Join(", ", Enum.GetValues<SharedAccess>().Where(k => Accesses(k) > 0).Select(k => $"{k} {ExtraPasses(k)} of {Accesses(k)}"));
}
