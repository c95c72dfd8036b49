using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Pointwise;

/// <summary>
/// Operations on rows of Columns values. Row r of the target reads row r of the first operand; what it reads of the second is said
/// by <see cref="OtherPitch"/> and <see cref="RowsPerOther"/>. Offsets and pitches are in elements.
/// </summary>
internal struct PointwiseArguments<T> where T : unmanaged
{
    /// <summary>Rows of a tile.</summary>
    public const int TileRows = 16;

    public ArrayView<T> Arena;
    public long Source;
    public long Target;
    public int SourcePitch;
    public int TargetPitch;
    public int Rows;
    public int Columns;

    /// <summary>A value of <see cref="Ilgpu.Activation"/>.</summary>
    public int Activation;

    /// <summary>For an affine function.</summary>
    public float Factor;
    public float Offset;

    public long Other;
    public int OtherPitch;

    /// <summary>Rows that share one row of the second operand.</summary>
    public int RowsPerOther;

    /// <summary>For a resize: sizes of target and source.</summary>
    public int Height;
    public int Width;
    public int SourceHeight;
    public int SourceWidth;

    /// <summary>Whether all rows are aligned and whole for work-items that move eight values at a time.</summary>
    public readonly bool IsChunked =>
        ((Source | Target | Other | (long)(SourcePitch | TargetPitch | OtherPitch | Columns)) & (Float8.Length - 1)) == 0;

    /// <summary>The row that a resize's target row is read from, by nearest neighbour: source index floor(i * in / out).</summary>
    public readonly long SourceRow(long row)
    {
        var x = row % Width * SourceWidth / Width;
        var y = row / Width % Height * SourceHeight / Height;
        return (((row / Width / Height * SourceHeight) + y) * SourceWidth) + x;
    }

    public readonly int Tiles => (Rows + TileRows - 1) / TileRows;
}

/// <summary>Operations whose inputs are not activations.</summary>
internal struct EmbeddingArguments<T> where T : unmanaged
{
    public ArrayView<T> Arena;

    /// <summary>Token rows, then position rows (token embedding only).</summary>
    public ArrayView<T> Tokens;
    public ArrayView<T> Positions;
    public ArrayView<int> Ids;

    /// <summary>Timesteps and the Columns / 2 frequencies (timestep embedding only).</summary>
    public ArrayView<float> Timesteps;
    public ArrayView<float> Frequencies;
    public long Target;
    public int TargetPitch;
    public int Rows;
    public int Columns;

    /// <summary>Rows after which the positions start anew.</summary>
    public int Length;
    public int CosineFirst;
}
