using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>Adds the sums that a contraction's splits left, in their order, and finishes them.</summary>
internal static class TensorSplitKernel
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

        // With Geglu, a panel has two chunks of h and, 16 columns further, their gates.
        var column = a.Epilogue.Geglu != 0 ? (chunk / 2 * Tile.Columns) + (chunk % 2 * 8) : chunk * 8;
        var values = Sum(t, row, column);
        var gates = values;
        if (a.Epilogue.Geglu != 0)
        {
            gates = Sum(t, row, column + 16);
        }

        TensorEpilogue.Store(t, values, gates, row, column);
    }

    /// <summary>Of eight stored columns each.</summary>
    private static int Chunks(TensorGemmArguments t) => t.Gemm.Panels * t.Gemm.PanelColumns / 8;

    private static Float8 Sum(TensorGemmArguments t, int row, int column)
    {
        var partial = t.Partial.Cast<Float4>();
        Float8 sum = default;
        for (var split = 0; split < t.Splits; split++)
        {
            var at = ((((long)split * t.Gemm.Rows) + row) * t.PackedColumns + column) / 4;
            sum = Float8.Add(sum, new Float8 { Low = partial[at], High = partial[at + 1] });
        }

        return sum;
    }
}
