namespace StableDiffusion.Ilgpu.Graphs;

/// <summary>
/// A channels-last shape. An image has N pictures of H x W pixels; a token sequence has H = 1 and W = its length, or is an
/// image whose pixels are taken as tokens: both lie in memory as <see cref="Rows"/> rows of C values.
/// </summary>
internal readonly record struct Shape(int N, int H, int W, int C)
{
    public int Rows => N * H * W;

    /// <summary>Rows of one batch item.</summary>
    public int RowsPerItem => H * W;

    public long Count => (long)Rows * C;

    public override string ToString() => $"{N}x{H}x{W}x{C}";
}

/// <summary>What a value is made of. Activations are fp16, or fp32 where the compiler is told so.</summary>
internal enum ElementType { Activation, Float32, Int32 }

/// <summary>
/// How often a value changes during a generation: the compiler makes one program of each rate.
/// A value changes as often as the fastest of its inputs.
/// </summary>
internal enum Rate { Prompt, Schedule, Step }
