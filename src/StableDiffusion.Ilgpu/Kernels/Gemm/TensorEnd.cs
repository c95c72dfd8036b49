namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>What becomes of a contraction's sums on tensor cores.</summary>
internal enum TensorEnd
{
    /// <summary>Nothing but the bias is added. This and the next three store eight columns at a time.</summary>
    Plain,

    ItemBias,

    Residual,

    Geglu,

    /// <summary>They are left as they are, for another kernel to add: sums of a part of the depth.</summary>
    Split,

    /// <summary>Everything that an epilogue can ask for is decided when the kernel runs, and values may be stored one by one.</summary>
    General,
}

/// <summary>
/// A <see cref="TensorEnd"/>. Kernels are compiled for each implementation: what is decided when they run costs a small contraction as much as its products.
/// </summary>
internal interface ITensorEnd
{
    TensorEnd Kind { get; }
}

internal struct PlainEnd : ITensorEnd
{
    public readonly TensorEnd Kind => TensorEnd.Plain;
}

internal struct ItemBiasEnd : ITensorEnd
{
    public readonly TensorEnd Kind => TensorEnd.ItemBias;
}

internal struct ResidualEnd : ITensorEnd
{
    public readonly TensorEnd Kind => TensorEnd.Residual;
}

internal struct GegluEnd : ITensorEnd
{
    public readonly TensorEnd Kind => TensorEnd.Geglu;
}

internal struct SplitEnd : ITensorEnd
{
    public readonly TensorEnd Kind => TensorEnd.Split;
}

internal struct GeneralEnd : ITensorEnd
{
    public readonly TensorEnd Kind => TensorEnd.General;
}
