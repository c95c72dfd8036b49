namespace StableDiffusion.Ilgpu.Graphs;

/// <summary>A parameter by its diffusers name and row-major shape (outermost first).</summary>
internal sealed record Weight(string Name, long[] Shape)
{
    /// <summary>By content; a record alone would compare the array by reference.</summary>
    public bool Equals(Weight? other) => other is not null && Name == other.Name && Shape.AsSpan().SequenceEqual(other.Shape);

    public override int GetHashCode() => Name.GetHashCode(StringComparison.Ordinal);
}

/// <summary>One operation of a graph. Records compare by content, so two equal ops on equal inputs are the same computation.</summary>
internal abstract record Op
{
    public virtual IEnumerable<Weight> Weights => [];

    /// <summary>True where the operation only renames or rearranges memory and may cost nothing.</summary>
    public virtual bool IsView => false;

    public virtual string Name => GetType().Name;
}

/// <summary>A value that the caller provides.</summary>
internal sealed record Input(string Key) : Op;

/// <summary>Rows of the token table plus rows of the position table; ids are Int32 (N, 1, tokens, 1).</summary>
internal sealed record TokenEmbedding(Weight Tokens, Weight Positions) : Op
{
    public override IEnumerable<Weight> Weights => [Tokens, Positions];
}

/// <summary>
/// [cos(t f), sin(t f)] (or sine first), f_k = 10000^(-k / (Size / 2 - FrequencyShift)); t is Float32 (N, 1, 1, 1).
/// </summary>
internal sealed record TimestepEmbedding(int Size, bool CosineFirst, double FrequencyShift) : Op;

/// <summary>The two-dimensional window of a convolution; zeros outside the source, or the source again from its other side.</summary>
internal readonly record struct Window(int Kernel, int Stride, int PadLeft, int PadRight, int PadTop, int PadBottom)
{
    /// <summary>The source repeats without end in both directions.</summary>
    public bool Circular { get; init; }

    public static Window Pointwise => new(1, 1, 0, 0, 0, 0);

    public static Window Same(int kernel, int stride = 1) => new(kernel, stride, kernel / 2, kernel / 2, kernel / 2, kernel / 2);

    public (int H, int W) Output(int h, int w) =>
        (((h + PadTop + PadBottom - Kernel) / Stride) + 1, ((w + PadLeft + PadRight - Kernel) / Stride) + 1);
}

/// <summary>
/// A linear layer or a convolution: y = act(W * window(x) + bias [+ per-item bias]) [+ residual], or the activation last.
/// Weights are (out, in) or (out, in, kh, kw). Inputs: x, then the per-item bias (N or 1, 1, 1, out), then the residual, where present.
/// Recorded with the first line only; the fusion rules fill in the rest.
/// </summary>
internal sealed record Contraction(Weight Kernel, Weight? Bias, Window Window) : Op
{
    /// <summary>More weights on the same source, whose outputs stand behind the first one's (rule MergeSiblings).</summary>
    public ValueList<(Weight Kernel, Weight? Bias)> Siblings { get; init; } = [];

    /// <summary>The source is first enlarged to this size by nearest neighbour (rule FoldResize).</summary>
    public (int H, int W)? ResizeTo { get; init; }

    public Activation Activation { get; init; }

    /// <summary>The activation follows the residual (rule FuseSumActivation).</summary>
    public bool ActivatesSum { get; init; }

    /// <summary>The output's halves h and g are combined to h * gelu(g) (rule FuseGeglu).</summary>
    public bool Geglu { get; init; }

    public bool HasItemBias { get; init; }

    public bool HasResidual { get; init; }

    /// <summary>True where anything but a weight's own bias follows the product.</summary>
    public bool HasEpilogue => Activation != Activation.None || Geglu || HasItemBias || HasResidual;

    /// <summary>Columns of all weights together, before <see cref="Geglu"/> halves them.</summary>
    public int Columns => (int)(Kernel.Shape[0] + Siblings.Sum(s => s.Kernel.Shape[0]));

    public bool IsPointwise => Window.Kernel == 1 && Window.Stride == 1;

    public IEnumerable<(Weight Kernel, Weight? Bias)> Parts => Siblings.Prepend((Kernel, Bias));

    public override IEnumerable<Weight> Weights => Parts.SelectMany(p => p.Bias is null ? new[] { p.Kernel } : [p.Kernel, p.Bias]);

    public override string Name => IsPointwise ? "Linear" : "Conv";
}

/// <summary>softmax(q k^T / sqrt(d)) v per head, heads side by side in the channels; inputs q, k, v.</summary>
internal sealed record Attention(int Heads, bool Causal) : Op;

internal sealed record GroupNorm(Weight Scale, Weight Offset, int Groups, double Epsilon) : Op
{
    public bool Silu { get; init; }

    public override IEnumerable<Weight> Weights => [Scale, Offset];
}

internal sealed record LayerNorm(Weight Scale, Weight Offset, double Epsilon) : Op
{
    public override IEnumerable<Weight> Weights => [Scale, Offset];
}

/// <summary>An activation function on every value.</summary>
internal sealed record Activate(Activation Activation) : Op
{
    public override string Name => Activation.ToString();
}

/// <summary>Factor * x + Offset for every value.</summary>
internal sealed record Affine(double Factor, double Offset) : Op;

/// <summary>x = [h | g] along the channels; h * gelu(g).</summary>
internal sealed record Geglu : Op;

/// <summary>a + b; b may have one row an item, or one row in all, which is added to every row.</summary>
internal sealed record Add : Op;

/// <summary>a and b side by side in the channels.</summary>
internal sealed record Concat : Op
{
    public override bool IsView => true;
}

/// <summary>Nearest neighbour to H x W; source index floor(i * in / out).</summary>
internal sealed record Resize(int H, int W) : Op;

/// <summary>Channels Start … Start + Count of the input (made by rule MergeSiblings).</summary>
internal sealed record Slice(int Start, int Count) : Op
{
    public override bool IsView => true;
}
