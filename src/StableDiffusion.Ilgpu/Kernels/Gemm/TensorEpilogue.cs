using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;
using StableDiffusion.Ilgpu.Kernels.Pointwise;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>Finishes eight neighbouring sums: what <see cref="PortableRows{T, TFormat}.FinishValue"/> does with one.</summary>
internal static class TensorEpilogue
{
    /// <param name="t">The contraction.</param>
    /// <param name="values">The sums, without bias.</param>
    /// <param name="gates">With Geglu, those of their gates.</param>
    /// <param name="row">Output pixel.</param>
    /// <param name="packed">The first one's packed column; with Geglu one of h.</param>
    public static void Store(TensorGemmArguments t, Float8 values, Float8 gates, int row, int packed)
    {
        var a = t.Gemm;
        var column = a.Epilogue.Geglu != 0 ? (packed / Tile.Columns * 16) + (packed % 16) : packed;
        values = Float8.Add(values, default(FloatFormat).LoadChunk(a.Bias, packed));
        if (a.Epilogue.Geglu != 0)
        {
            gates = Float8.Add(gates, default(FloatFormat).LoadChunk(a.Bias, packed + 16));
        }

        var itemBias = a.ItemBias + ((long)(row / a.OutputPixels) * a.ItemBiasPitch) + column;
        var residual = a.Residual + ((long)row * a.ResidualPitch) + column;
        var target = a.Target + ((long)row * a.TargetPitch) + column;
        if (t.Vectors != 0 && column + 8 <= a.Columns)
        {
            default(GpuHalfFormat<CudaHalfConversion>).StoreChunk(a.Arena, target, Finish(a, values, gates, itemBias, residual));
            return;
        }

        // Too few columns, or such as do not lie at multiples of eight.
        for (var i = 0; i < IntrinsicMath.Min(8, a.Columns - column); i++)
        {
            var value = PortableRows<ushort, GpuHalfFormat<CudaHalfConversion>>.FinishValue(
                a.Epilogue, Float8.Get(values, i), Float8.Get(gates, i), a.Arena, itemBias + i, a.Arena, residual + i);
            default(GpuHalfFormat<CudaHalfConversion>).Store(a.Arena, target + i, value);
        }
    }

    private static Float8 Finish(GemmArguments<ushort> a, Float8 values, Float8 gates, long itemBias, long residual)
    {
        if (a.Epilogue.HasItemBias != 0)
        {
            values = Float8.Add(values, default(GpuHalfFormat<CudaHalfConversion>).LoadChunk(a.Arena, itemBias));
        }

        if (a.Epilogue.Geglu != 0)
        {
            values = Float8.Multiply(values, ChunkMath.Gelu(gates));
        }

        if (a.Epilogue.HasResidual != 0 && a.Epilogue.ActivatesSum != 0)
        {
            values = Float8.Add(values, default(GpuHalfFormat<CudaHalfConversion>).LoadChunk(a.Arena, residual));
        }

        if (a.Epilogue.Activation != (int)Activation.None && (a.Epilogue.Geglu == 0 || a.Epilogue.ActivatesSum != 0))
        {
            values = ChunkMath.Activate(values, a.Epilogue.Activation);
        }

        if (a.Epilogue.HasResidual != 0 && a.Epilogue.ActivatesSum == 0)
        {
            values = Float8.Add(values, default(GpuHalfFormat<CudaHalfConversion>).LoadChunk(a.Arena, residual));
        }

        return values;
    }
}
