using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Norms;

/// <summary>
/// Layer norm for devices whose groups have many work-items, in two passes for the moments. Where all rows are aligned, a work-item has up to five
/// chunks of eight neighbouring values in registers, so memory is read once, and a group as many rows as these let it: 16 of 320 channels, 4 of
/// 1280. Other rows have a group each.
/// </summary>
internal static class GpuLayerNormKernel<T, TFormat>
    where T : unmanaged
    where TFormat : struct, IGpuFormat<T>
{
    private const int WorkItems = 128;

    /// <summary>Chunks that a work-item has in registers.</summary>
    private const int MostChunks = 5;

    public static KernelConfig Shape(LayerNormArguments<T> a)
    {
        var rows = IsInRegisters(a) ? WorkItems / Lanes(a) : 1;
        return new((a.Rows + rows - 1) / rows, WorkItems);
    }

    public static void Run(LayerNormArguments<T> a)
    {
        var shared = SharedMemory.Allocate<float>(WorkItems);
        if (IsInRegisters(a))
        {
            RunChunks(a, shared);
        }
        else
        {
            RunValues(a, a.Source + ((long)Grid.IdxX * a.SourcePitch), a.Target + ((long)Grid.IdxX * a.TargetPitch), shared);
        }
    }

    private static bool IsInRegisters(LayerNormArguments<T> a) => a.IsChunked && a.Channels <= WorkItems * MostChunks * Float8.Length;

    /// <summary>Work-items of a row: a power of 2.</summary>
    private static int Lanes(LayerNormArguments<T> a)
    {
        var lanes = 1;
        while (lanes * MostChunks * Float8.Length < a.Channels)
        {
            lanes *= 2;
        }

        return lanes;
    }

    private static void RunChunks(LayerNormArguments<T> a, ArrayView<float> shared)
    {
        var lanes = Lanes(a);
        var rows = WorkItems / lanes;
        var rowOfGroup = Group.IdxX / lanes;
        var lane = Group.IdxX & (lanes - 1);
        var position = (lane * rows) + rowOfGroup;
        var row = (Grid.IdxX * rows) + rowOfGroup;
        var source = a.Source + ((long)IntrinsicMath.Min(row, a.Rows - 1) * a.SourcePitch);
        var (i0, step) = (lane * Float8.Length, lanes * Float8.Length);
        var (i1, i2, i3, i4) = (i0 + step, i0 + (2 * step), i0 + (3 * step), i0 + (4 * step));
        var values0 = Load(a, source, i0);
        var values1 = Load(a, source, i1);
        var values2 = Load(a, source, i2);
        var values3 = Load(a, source, i3);
        var values4 = Load(a, source, i4);

        var sums = Add(a, default, values0, i0);
        sums = Add(a, sums, values1, i1);
        sums = Add(a, sums, values2, i2);
        sums = Add(a, sums, values3, i3);
        sums = Add(a, sums, values4, i4);
        var mean = Float8.Fill(GroupReduction.SumOfColumn(shared, WorkItems, rows, position, sums.Sum) / a.Channels);
        values0 = Float8.Subtract(values0, mean);
        values1 = Float8.Subtract(values1, mean);
        values2 = Float8.Subtract(values2, mean);
        values3 = Float8.Subtract(values3, mean);
        values4 = Float8.Subtract(values4, mean);
        var squares = Add(a, default, Float8.Multiply(values0, values0), i0);
        squares = Add(a, squares, Float8.Multiply(values1, values1), i1);
        squares = Add(a, squares, Float8.Multiply(values2, values2), i2);
        squares = Add(a, squares, Float8.Multiply(values3, values3), i3);
        squares = Add(a, squares, Float8.Multiply(values4, values4), i4);
        var factor = Factor(a, GroupReduction.SumOfColumn(shared, WorkItems, rows, position, squares.Sum));

        // Two or three chunks' weights are on their way at once: more would take too many registers.
        var target = a.Target + ((long)row * a.TargetPitch);
        var end = row < a.Rows ? a.Channels : 0;
        (values0, values1) = (Scale(a, values0, factor, i0), Scale(a, values1, factor, i1));
        Store(a, target, i0, end, values0);
        Store(a, target, i1, end, values1);
        (values2, values3, values4) = (Scale(a, values2, factor, i2), Scale(a, values3, factor, i3), Scale(a, values4, factor, i4));
        Store(a, target, i2, end, values2);
        Store(a, target, i3, end, values3);
        Store(a, target, i4, end, values4);
    }

    /// <summary>Beyond the last chunk that one again: so no branch stands between a work-item's reads.</summary>
    private static Float8 Load(LayerNormArguments<T> a, long source, int i) =>
        default(TFormat).LoadChunk(a.Arena, source + IntrinsicMath.Min(i, a.Channels - Float8.Length));

    private static Float8 Add(LayerNormArguments<T> a, Float8 sums, Float8 values, int i) =>
        Float8.MultiplyAdd(sums, i < a.Channels ? 1f : 0f, values);

    private static Float8 Scale(LayerNormArguments<T> a, Float8 values, float factor, int i)
    {
        i = IntrinsicMath.Min(i, a.Channels - Float8.Length);
        var (weights, biases) = (default(FloatFormat).LoadChunk(a.Weights, i), default(FloatFormat).LoadChunk(a.Biases, i));
        return Float8.Add(Float8.Multiply(Float8.Multiply(values, Float8.Fill(factor)), weights), biases);
    }

    private static void Store(LayerNormArguments<T> a, long target, int i, int end, Float8 values)
    {
        if (i < end)
        {
            default(TFormat).StoreChunk(a.Arena, target + i, values);
        }
    }

    /// <summary>All work-items take as many turns: some OpenCL drivers for processors mistake what comes after a barrier otherwise.</summary>
    private static void RunValues(LayerNormArguments<T> a, long source, long target, ArrayView<float> shared)
    {
        var sum = 0f;
        for (var first = 0; first < a.Channels; first += WorkItems)
        {
            var i = first + Group.IdxX;
            sum += i < a.Channels ? default(TFormat).Load(a.Arena, source + i) : 0f;
        }

        var mean = GroupReduction.Sum(shared, WorkItems, sum) / a.Channels;
        var squares = 0f;
        for (var first = 0; first < a.Channels; first += WorkItems)
        {
            var i = first + Group.IdxX;
            var d = i < a.Channels ? default(TFormat).Load(a.Arena, source + i) - mean : 0f;
            squares += d * d;
        }

        var factor = Factor(a, GroupReduction.Sum(shared, WorkItems, squares));
        for (var first = 0; first < a.Channels; first += WorkItems)
        {
            var i = first + Group.IdxX;
            if (i < a.Channels)
            {
                var value = (default(TFormat).Load(a.Arena, source + i) - mean) * factor;
                default(TFormat).Store(a.Arena, target + i, (value * a.Weights[i]) + a.Biases[i]);
            }
        }
    }

    /// <summary>One over the standard deviation.</summary>
    private static float Factor(LayerNormArguments<T> a, float squares) => 1f / MathF.Sqrt((squares / a.Channels) + a.Epsilon);
}
