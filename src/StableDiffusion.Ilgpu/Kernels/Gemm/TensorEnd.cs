namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>
/// What becomes of a contraction's sums on tensor cores. Kernels are compiled for each implementation: what is decided when they run costs a small
/// contraction as much as its products.
/// </summary>
internal interface ITensorEnd
{
    /// <summary>Whether sums are left as they are, for another kernel to add: parts of the depth.</summary>
    bool IsSplit { get; }

    /// <summary>Whether everything is decided when the kernel runs, and values may be stored one by one. The others store eight at a time.</summary>
    bool IsGeneral { get; }

    bool HasItemBias { get; }

    bool HasResidual { get; }

    bool IsGeglu { get; }
}

/// <summary>Nothing but the bias.</summary>
internal struct PlainEnd : ITensorEnd
{
    public readonly bool IsSplit => false;

    public readonly bool IsGeneral => false;

    public readonly bool HasItemBias => false;

    public readonly bool HasResidual => false;

    public readonly bool IsGeglu => false;
}

internal struct ItemBiasEnd : ITensorEnd
{
    public readonly bool IsSplit => false;

    public readonly bool IsGeneral => false;

    public readonly bool HasItemBias => true;

    public readonly bool HasResidual => false;

    public readonly bool IsGeglu => false;
}

internal struct ResidualEnd : ITensorEnd
{
    public readonly bool IsSplit => false;

    public readonly bool IsGeneral => false;

    public readonly bool HasItemBias => false;

    public readonly bool HasResidual => true;

    public readonly bool IsGeglu => false;
}

internal struct GegluEnd : ITensorEnd
{
    public readonly bool IsSplit => false;

    public readonly bool IsGeneral => false;

    public readonly bool HasItemBias => false;

    public readonly bool HasResidual => false;

    public readonly bool IsGeglu => true;
}

internal struct SplitEnd : ITensorEnd
{
    public readonly bool IsSplit => true;

    public readonly bool IsGeneral => false;

    public readonly bool HasItemBias => false;

    public readonly bool HasResidual => false;

    public readonly bool IsGeglu => false;
}

/// <summary>Everything that an epilogue can ask for.</summary>
internal struct GeneralEnd : ITensorEnd
{
    public readonly bool IsSplit => false;

    public readonly bool IsGeneral => true;

    public readonly bool HasItemBias => false;

    public readonly bool HasResidual => false;

    public readonly bool IsGeglu => false;
}
