using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;
using StableDiffusion.Ilgpu.Kernels.Pointwise;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>
/// Eight neighbouring columns of a contraction's result, and how their sums are finished: what <see cref="PortableRows{T, TFormat}.FinishValue"/> does with
/// one value.
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

    private static GpuHalfFormat<CudaHalfConversion> Format => default;

    private static bool IsGeneral => default(TEnd).Kind == TensorEnd.General;

    /// <summary>Whether 16 of a panel's 32 columns are gates.</summary>
    public static bool IsGeglu(TensorGemmArguments t) => IsGeneral ? t.Gemm.Epilogue.Geglu != 0 : default(TEnd).Kind == TensorEnd.Geglu;

    /// <summary>The first column of a chunk of stored ones: with Geglu, a panel has two chunks of h and, 16 columns further, their gates.</summary>
    public static int PackedColumn(bool geglu, int chunk) => geglu ? (chunk / 2 * Tile.Columns) + (chunk % 2 * 8) : chunk * 8;

    /// <summary>How many of the eight there are; none or less where all lie beyond the last.</summary>
    public int Count { get; }

    /// <summary>A row's residual as it lies in memory; nothing where there is none, or none that is aligned.</summary>
    public readonly HalfChunk ReadResidual(TensorGemmArguments t, int row)
    {
        HalfChunk residual = default;
        if (IsGeneral ? t.Gemm.Epilogue.HasResidual != 0 && IsVector(t) : default(TEnd).Kind == TensorEnd.Residual)
        {
            residual = GpuHalfFormat<CudaHalfConversion>.Read(t.Gemm.Arena, Residual(t.Gemm, row));
        }

        return residual;
    }

    /// <param name="t">The contraction.</param>
    /// <param name="values">The sums, without bias.</param>
    /// <param name="gates">With Geglu, those of their gates.</param>
    /// <param name="residual">The row's.</param>
    /// <param name="row">Output pixel.</param>
    public readonly void Store(TensorGemmArguments t, Float8 values, Float8 gates, HalfChunk residual, int row)
    {
        var a = t.Gemm;
        values = Float8.Add(values, bias);
        var target = a.Target + ((long)row * a.TargetPitch) + column;
        if (!IsGeneral)
        {
            if (default(TEnd).Kind == TensorEnd.ItemBias)
            {
                values = Float8.Add(values, Format.LoadChunk(a.Arena, ItemBias(t, row)));
            }

            if (default(TEnd).Kind == TensorEnd.Residual)
            {
                values = Float8.Add(values, GpuHalfFormat<CudaHalfConversion>.Widen(residual));
            }

            if (default(TEnd).Kind == TensorEnd.Geglu)
            {
                values = Float8.Multiply(
                    values,
                    Activations<GpuHalfFormat<CudaHalfConversion>>.Of<Activations<GpuHalfFormat<CudaHalfConversion>>.Gelu>(Float8.Add(gates, gateBias)));
            }

            Format.StoreChunk(a.Arena, target, values);
            return;
        }

        gates = Float8.Add(gates, gateBias);
        if (IsVector(t))
        {
            Float8 itemBias = default;
            if (a.Epilogue.HasItemBias != 0)
            {
                itemBias = Format.LoadChunk(a.Arena, ItemBias(t, row));
            }

            values = GpuRows.Finish<ushort, GpuHalfFormat<CudaHalfConversion>>(
                a.Epilogue, values, gates, itemBias, GpuHalfFormat<CudaHalfConversion>.Widen(residual));
            Format.StoreChunk(a.Arena, target, values);
            return;
        }

        // Too few columns, or such as do not lie at multiples of eight.
        for (var i = 0; i < Count; i++)
        {
            var value = PortableRows<ushort, GpuHalfFormat<CudaHalfConversion>>.FinishValue(
                a.Epilogue, Float8.Get(values, i), Float8.Get(gates, i), a.Arena, ItemBias(t, row) + i, a.Arena, Residual(a, row) + i);
            Format.Store(a.Arena, target + i, value);
        }
    }

    private readonly bool IsVector(TensorGemmArguments t) => t.Vectors != 0 && Count == 8;

    private readonly long ItemBias(TensorGemmArguments t, int row) =>
        t.Gemm.ItemBias + ((long)t.OutputPixels.Divide(row) * t.Gemm.ItemBiasPitch) + column;

    private readonly long Residual(GemmArguments<ushort> a, int row) => a.Residual + ((long)row * a.ResidualPitch) + column;
}
