using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>Adds the sums that a contraction's splits left, in their order, and finishes them.</summary>
internal static class TensorSplitKernel<TEnd> where TEnd : struct, ITensorEnd
{
    private const int Threads = 128;

    public static KernelConfig Shape(TensorGemmArguments t) => new((Chunks(t) * t.Gemm.Rows + Threads - 1) / Threads, Threads);

    public static void Run(TensorGemmArguments t)
    {
        var a = t.Gemm;
        var i = Grid.GlobalIndex.X;
        if (i >= Chunks(t) * a.Rows)
        {
            return;
        }

        var (row, chunk) = (i / Chunks(t), i % Chunks(t));
        var geglu = TensorColumns<TEnd>.IsGeglu(t);
        var column = TensorColumns<TEnd>.PackedColumn(geglu, chunk);
        var columns = new TensorColumns<TEnd>(t, column);
        if (columns.Count <= 0)
        {
            return;
        }

        var residual = columns.ReadResidual(t, row);
        var values = Sum(t, row, column);
        var gates = values;
        if (geglu)
        {
            gates = Sum(t, row, column + 16);
        }

        columns.Store(t, values, gates, residual, row);
    }

    /// <summary>Of eight stored columns each.</summary>
    private static int Chunks(TensorGemmArguments t) => t.Gemm.Panels * t.Gemm.PanelColumns / 8;

    /// <summary>Four splits' sums are read at a time; beyond the last split nothing is added.</summary>
    private static Float8 Sum(TensorGemmArguments t, int row, int column)
    {
        Float8 sum = default;
        for (var split = 0; split < t.Splits; split += 4)
        {
            var (sums0, sums1, sums2, sums3) = (Read(t, split, row, column), Read(t, split + 1, row, column), Read(t, split + 2, row, column), Read(t, split + 3, row, column));
            sum = Float8.Add(sum, sums0);
            sum = Float8.MultiplyAdd(sum, split + 1 < t.Splits ? 1f : 0f, sums1);
            sum = Float8.MultiplyAdd(sum, split + 2 < t.Splits ? 1f : 0f, sums2);
            sum = Float8.MultiplyAdd(sum, split + 3 < t.Splits ? 1f : 0f, sums3);
        }

        return sum;
    }

    private static Float8 Read(TensorGemmArguments t, int split, int row, int column)
    {
        var partial = t.Partial.Cast<Float4>();
        var at = ((((long)IntrinsicMath.Min(split, t.Splits - 1) * t.Gemm.Rows) + row) * t.PackedColumns + column) / 4;
        return new Float8 { Low = partial[at], High = partial[at + 1] };
    }
}
