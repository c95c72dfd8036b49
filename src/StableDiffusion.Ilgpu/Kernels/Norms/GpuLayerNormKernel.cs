using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Norms;

/// <summary>
/// Layer norm for devices whose groups have many work-items: one group for each row, in two passes for the moments. A work-item takes eight
/// neighbouring values at a time where all rows are aligned.
/// </summary>
internal static class GpuLayerNormKernel<T, TFormat>
    where T : unmanaged
    where TFormat : struct, IGpuFormat<T>
{
    private const int WorkItems = 64;

    public static KernelConfig Shape(LayerNormArguments<T> a) => new(a.Rows, WorkItems);

    public static void Run(LayerNormArguments<T> a)
    {
        var shared = SharedMemory.Allocate<float>(WorkItems);
        var source = a.Source + ((long)Grid.IdxX * a.SourcePitch);
        var target = a.Target + ((long)Grid.IdxX * a.TargetPitch);
        if (a.IsChunked)
        {
            RunChunks(a, source, target, shared);
        }
        else
        {
            RunValues(a, source, target, shared);
        }
    }

    private static void RunChunks(LayerNormArguments<T> a, long source, long target, ArrayView<float> shared)
    {
        const int Step = WorkItems * Float8.Length;
        Float8 sums = default;
        for (var i = Group.IdxX * Float8.Length; i < a.Channels; i += Step)
        {
            sums = Float8.Add(sums, default(TFormat).LoadChunk(a.Arena, source + i));
        }

        var mean = Float8.Fill(GroupReduction.Sum(shared, WorkItems, sums.Sum) / a.Channels);
        Float8 squares = default;
        for (var i = Group.IdxX * Float8.Length; i < a.Channels; i += Step)
        {
            var d = Float8.Subtract(default(TFormat).LoadChunk(a.Arena, source + i), mean);
            squares = Float8.Add(squares, Float8.Multiply(d, d));
        }

        var factor = Float8.Fill(Factor(a, GroupReduction.Sum(shared, WorkItems, squares.Sum)));
        for (var i = Group.IdxX * Float8.Length; i < a.Channels; i += Step)
        {
            var values = Float8.Multiply(Float8.Subtract(default(TFormat).LoadChunk(a.Arena, source + i), mean), factor);
            var (weights, biases) = (default(FloatFormat).LoadChunk(a.Weights, i), default(FloatFormat).LoadChunk(a.Biases, i));
            default(TFormat).StoreChunk(a.Arena, target + i, Float8.Add(Float8.Multiply(values, weights), biases));
        }
    }

    private static void RunValues(LayerNormArguments<T> a, long source, long target, ArrayView<float> shared)
    {
        var sum = 0f;
        for (var i = Group.IdxX; i < a.Channels; i += WorkItems)
        {
            sum += default(TFormat).Load(a.Arena, source + i);
        }

        var mean = GroupReduction.Sum(shared, WorkItems, sum) / a.Channels;
        var squares = 0f;
        for (var i = Group.IdxX; i < a.Channels; i += WorkItems)
        {
            var d = default(TFormat).Load(a.Arena, source + i) - mean;
            squares += d * d;
        }

        var factor = Factor(a, GroupReduction.Sum(shared, WorkItems, squares));
        for (var i = Group.IdxX; i < a.Channels; i += WorkItems)
        {
            var value = (default(TFormat).Load(a.Arena, source + i) - mean) * factor;
            default(TFormat).Store(a.Arena, target + i, (value * a.Weights[i]) + a.Biases[i]);
        }
    }

    /// <summary>One over the standard deviation.</summary>
    private static float Factor(LayerNormArguments<T> a, float squares) => 1f / MathF.Sqrt((squares / a.Channels) + a.Epsilon);
}
