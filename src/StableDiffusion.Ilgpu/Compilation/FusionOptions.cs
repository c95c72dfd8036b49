namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>Which rules rewrite a graph before it is compiled; each can be switched off.</summary>
internal sealed record FusionOptions
{
    public static FusionOptions All { get; } = new();

    public static FusionOptions None { get; } = new()
    {
        MergeSiblings = false,
        FoldResize = false,
        FuseGeglu = false,
        FuseActivation = false,
        FuseItemBias = false,
        FuseResidual = false,
        FuseNormSilu = false,
        FoldConcat = false,
        InPlace = false,
        Winograd = false,
    };

    /// <summary>Linear layers on one source become one (Q/K/V, all time projections, all cross-attention keys and values).</summary>
    public bool MergeSiblings { get; init; } = true;

    /// <summary>Nearest-neighbour enlargement moves into the convolution that reads it.</summary>
    public bool FoldResize { get; init; } = true;

    public bool FuseGeglu { get; init; } = true;

    public bool FuseActivation { get; init; } = true;

    /// <summary>The time embedding is added by the convolution that makes the other summand.</summary>
    public bool FuseItemBias { get; init; } = true;

    public bool FuseResidual { get; init; } = true;

    public bool FuseNormSilu { get; init; } = true;

    /// <summary>Producers write straight into their place in a concatenation.</summary>
    public bool FoldConcat { get; init; } = true;

    /// <summary>Group norms and activations overwrite a source that nothing else reads any more.</summary>
    public bool InPlace { get; init; } = true;

    /// <summary>
    /// 3x3 convolutions take a quarter of the multiplications, at the price of a little fp32 accuracy; null where values are stored as
    /// fp16, whose rounding is a hundred times that.
    /// </summary>
    public bool? Winograd { get; init; }
}
