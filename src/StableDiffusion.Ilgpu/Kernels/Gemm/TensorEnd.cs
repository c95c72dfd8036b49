using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;
using StableDiffusion.Ilgpu.Kernels.Pointwise;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>
/// What becomes of a contraction's sums on tensor cores. Kernels are compiled for each implementation: what is decided when they run costs a small
/// contraction as much as its products. And each has code of its own alone: ILGPU takes as long for what it finds to be never reached.
/// </summary>
internal interface ITensorEnd
{
    /// <summary>Whether sums are left as they are, for another kernel to add: those of a part of the depth.</summary>
    bool IsSplit { get; }

    /// <summary>Whether a thread finishes row by row, not several at a time.</summary>
    bool IsLong { get; }

    /// <summary>Whether residuals are read eight at a time, before the sums.</summary>
    bool ReadsResidual { get; }

    /// <summary>Whether 16 of a panel's 32 columns are gates.</summary>
    bool IsGeglu(Epilogue epilogue);

    /// <summary>Finishes and stores up to eight neighbouring columns of a row.</summary>
    /// <param name="t">The contraction.</param>
    /// <param name="row">Output pixel.</param>
    /// <param name="column">The first stored column.</param>
    /// <param name="values">The sums, the biases added.</param>
    /// <param name="gates">With Geglu, those of their gates.</param>
    /// <param name="residual">With <see cref="ReadsResidual"/>.</param>
    void Store(TensorGemmArguments t, int row, int column, Float8 values, Float8 gates, HalfChunk residual);
}

/// <summary>Nothing but the bias is added. This and the next three store eight columns at once.</summary>
internal struct PlainEnd : ITensorEnd
{
    public readonly bool IsSplit => false;

    public readonly bool IsLong => false;

    public readonly bool ReadsResidual => false;

    public readonly bool IsGeglu(Epilogue epilogue) => false;

    public readonly void Store(TensorGemmArguments t, int row, int column, Float8 values, Float8 gates, HalfChunk residual) =>
        default(GpuHalfFormat<CudaHalfConversion>).StoreChunk(t.Gemm.Arena, t.TargetOf(row, column), values);
}

internal struct ItemBiasEnd : ITensorEnd
{
    public readonly bool IsSplit => false;

    public readonly bool IsLong => false;

    public readonly bool ReadsResidual => false;

    public readonly bool IsGeglu(Epilogue epilogue) => false;

    public readonly void Store(TensorGemmArguments t, int row, int column, Float8 values, Float8 gates, HalfChunk residual)
    {
        GpuHalfFormat<CudaHalfConversion> format = default;
        var itemBias = t.Gemm.ItemBias + ((long)t.OutputPixels.Divide(row) * t.Gemm.ItemBiasPitch) + column;
        format.StoreChunk(t.Gemm.Arena, t.TargetOf(row, column), Float8.Add(values, format.LoadChunk(t.Gemm.Arena, itemBias)));
    }
}

internal struct ResidualEnd : ITensorEnd
{
    public readonly bool IsSplit => false;

    public readonly bool IsLong => false;

    public readonly bool ReadsResidual => true;

    public readonly bool IsGeglu(Epilogue epilogue) => false;

    public readonly void Store(TensorGemmArguments t, int row, int column, Float8 values, Float8 gates, HalfChunk residual) =>
        default(GpuHalfFormat<CudaHalfConversion>).StoreChunk(
            t.Gemm.Arena, t.TargetOf(row, column), Float8.Add(values, GpuHalfFormat<CudaHalfConversion>.Widen(residual)));
}

internal struct GegluEnd : ITensorEnd
{
    public readonly bool IsSplit => false;

    public readonly bool IsLong => false;

    public readonly bool ReadsResidual => false;

    public readonly bool IsGeglu(Epilogue epilogue) => true;

    public readonly void Store(TensorGemmArguments t, int row, int column, Float8 values, Float8 gates, HalfChunk residual) =>
        default(GpuHalfFormat<CudaHalfConversion>).StoreChunk(
            t.Gemm.Arena, t.TargetOf(row, column),
            Float8.Multiply(values, Activations<GpuHalfFormat<CudaHalfConversion>>.Of<Activations<GpuHalfFormat<CudaHalfConversion>>.Gelu>(gates)));
}

internal struct SplitEnd : ITensorEnd
{
    public readonly bool IsSplit => true;

    public readonly bool IsLong => false;

    public readonly bool ReadsResidual => false;

    public readonly bool IsGeglu(Epilogue epilogue) => false;

    public readonly void Store(TensorGemmArguments t, int row, int column, Float8 values, Float8 gates, HalfChunk residual)
    {
    }
}

/// <summary>Everything that an epilogue can ask for is decided when the kernel runs, and values may be stored one by one.</summary>
internal struct GeneralEnd : ITensorEnd
{
    public readonly bool IsSplit => false;

    public readonly bool IsLong => true;

    public readonly bool ReadsResidual => false;

    public readonly bool IsGeglu(Epilogue epilogue) => epilogue.Geglu != 0;

    public readonly void Store(TensorGemmArguments t, int row, int column, Float8 values, Float8 gates, HalfChunk residual) =>
        GpuGemmTile<ushort, GpuHalfFormat<CudaHalfConversion>>.StoreColumns(t.Gemm, row, column, values, gates);
}
