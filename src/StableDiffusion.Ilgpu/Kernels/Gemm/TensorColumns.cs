using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>
/// Eight neighbouring columns of a contraction's result, and what their sums need besides.
/// </summary>
internal struct TensorColumns<TEnd> where TEnd : struct, ITensorEnd
{
    /// <summary>The first one, of the result.</summary>
    private readonly int column;

    private readonly Float8 bias;

    /// <summary>With Geglu, of their gates.</summary>
    private readonly Float8 gateBias;

    /// <param name="t">The contraction.</param>
    /// <param name="packed">The first one's packed column; with Geglu one of h.</param>
    public TensorColumns(TensorGemmArguments t, int packed)
    {
        var a = t.Gemm;
        column = IsGeglu(t) ? (packed / Tile.Columns * 16) + (packed % 16) : packed;
        Count = packed < t.PackedColumns ? IntrinsicMath.Min(8, a.Columns - column) : 0;
        bias = default;
        gateBias = default;
        if (Count > 0)
        {
            bias = default(FloatFormat).LoadChunk(a.Bias, packed);
            if (IsGeglu(t))
            {
                gateBias = default(FloatFormat).LoadChunk(a.Bias, packed + 16);
            }
        }
    }

    /// <summary>Whether 16 of a panel's 32 columns are gates.</summary>
    public static bool IsGeglu(TensorGemmArguments t) => default(TEnd).IsGeglu(t.Gemm.Epilogue);

    /// <summary>The first column of a chunk of stored ones: with Geglu, a panel has two chunks of h and, 16 columns further, their gates.</summary>
    public static int PackedColumn(bool geglu, int chunk) => geglu ? (chunk / 2 * Tile.Columns) + (chunk % 2 * 8) : chunk * 8;

    /// <summary>How many of the eight there are; none or less where all lie beyond the last.</summary>
    public int Count { get; }

    /// <summary>A row's residual as it lies in memory; nothing where the end does not read it.</summary>
    public readonly HalfChunk ReadResidual(TensorGemmArguments t, int row)
    {
        HalfChunk residual = default;
        if (default(TEnd).ReadsResidual)
        {
            residual = GpuHalfFormat<CudaHalfConversion>.Read(t.Gemm.Arena, t.Gemm.Residual + ((long)row * t.Gemm.ResidualPitch) + column);
        }

        return residual;
    }

    /// <param name="t">The contraction.</param>
    /// <param name="values">The sums, without bias.</param>
    /// <param name="gates">With Geglu, those of their gates.</param>
    /// <param name="residual">The row's.</param>
    /// <param name="row">Output pixel.</param>
    public readonly void Store(TensorGemmArguments t, Float8 values, Float8 gates, HalfChunk residual, int row) =>
        default(TEnd).Store(t, row, column, Float8.Add(values, bias), Float8.Add(gates, gateBias), residual);
}
