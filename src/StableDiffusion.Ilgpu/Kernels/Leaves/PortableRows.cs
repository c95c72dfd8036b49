using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Pointwise;

namespace StableDiffusion.Ilgpu.Kernels.Leaves;

/// <summary>The leaves on stored values in plain C#: what a device without leaves of its own runs, and what the others are tested against.</summary>
internal static class PortableRows<T, TFormat>
    where T : unmanaged
    where TFormat : struct, IFormat<T>
{
    public static float Load(ArrayView<T> source, long index) => default(TFormat).Load(source, index);

    public static void Store(ArrayView<T> target, long index, float value) => default(TFormat).Store(target, index, value);

    public static void Widen(
        ArrayView<T> source, long sourceOffset, int sourcePitch, ArrayView<float> target, int targetOffset, int targetPitch, int rows, int count)
    {
        for (var row = 0; row < rows; row++)
        {
            for (var i = 0; i < count; i++)
            {
                target[targetOffset + (row * targetPitch) + i] = Load(source, sourceOffset + ((long)row * sourcePitch) + i);
            }
        }
    }

    public static void Finish(
        Epilogue epilogue, ArrayView<float> sums, int sumsOffset, ArrayView<float> bias, int biasOffset, ArrayView<T> itemBias, long itemBiasOffset,
        ArrayView<T> residual, long residualOffset, ArrayView<T> target, long targetOffset, int count)
    {
        for (var i = 0; i < count; i++)
        {
            // With Geglu, 16 stored columns have their sums in one panel: 16 of h, then 16 of the gate.
            var column = epilogue.Geglu != 0 ? (i / 16 * 32) + (i % 16) : i;
            var gate = epilogue.Geglu != 0 ? sums[sumsOffset + column + 16] + bias[biasOffset + column + 16] : 0f;
            var sum = sums[sumsOffset + column] + bias[biasOffset + column];
            Store(target, targetOffset + i, FinishValue(epilogue, sum, gate, itemBias, itemBiasOffset + i, residual, residualOffset + i));
        }
    }

    /// <summary>One value of a contraction's result from its sum, and with Geglu from that of its gate, the biases added.</summary>
    public static float FinishValue(
        Epilogue epilogue, float value, float gate, ArrayView<T> itemBias, long itemBiasIndex, ArrayView<T> residual, long residualIndex)
    {
        if (epilogue.HasItemBias != 0)
        {
            value += Load(itemBias, itemBiasIndex);
        }

        if (epilogue.Geglu != 0)
        {
            value *= default(Activations<PreciseFunctions>.Gelu).Of(gate);
        }
        else if (epilogue.ActivatesSum == 0)
        {
            value = Activations<PreciseFunctions>.Of(value, epilogue.Activation);
        }

        if (epilogue.HasResidual != 0)
        {
            value += Load(residual, residualIndex);
        }

        return epilogue.ActivatesSum != 0 ? Activations<PreciseFunctions>.Of(value, epilogue.Activation) : value;
    }

    public static void Moments(
        ArrayView<T> source, long offset, int pitch, int rows, int width, ArrayView<float> mean, int meanOffset, ArrayView<float> deviation,
        int deviationOffset)
    {
        for (var column = 0; column < width; column++)
        {
            float meanSoFar = 0, deviationSoFar = 0;
            for (var start = 0; start < rows; start += MomentRows)
            {
                var count = IntrinsicMath.Min(MomentRows, rows - start);
                var first = offset + ((long)start * pitch) + column;
                var sum = 0f;
                for (var row = 0; row < count; row++)
                {
                    sum += Load(source, first + ((long)row * pitch));
                }

                var blockMean = sum / count;
                var squares = 0f;
                for (var row = 0; row < count; row++)
                {
                    var d = Load(source, first + ((long)row * pitch)) - blockMean;
                    squares += d * d;
                }

                var weight = (float)count / (start + count);
                var step = blockMean - meanSoFar;
                deviationSoFar += squares + (step * step * weight * start);
                meanSoFar += step * weight;
            }

            mean[meanOffset + column] = meanSoFar;
            deviation[deviationOffset + column] = deviationSoFar;
        }
    }

    public static void Normalize(
        ArrayView<T> source, long sourceOffset, int sourcePitch, ArrayView<T> target, long targetOffset, int targetPitch, int rows, int width,
        ArrayView<float> mean, int meanOffset, ArrayView<float> scale, int scaleOffset, ArrayView<float> shift, int shiftOffset, int silu)
    {
        for (var row = 0; row < rows; row++)
        {
            for (var i = 0; i < width; i++)
            {
                var value = Load(source, sourceOffset + ((long)row * sourcePitch) + i) - mean[meanOffset + i];
                value = (value * scale[scaleOffset + i]) + shift[shiftOffset + i];
                Store(target, targetOffset + ((long)row * targetPitch) + i, silu != 0 ? default(Activations<PreciseFunctions>.Silu).Of(value) : value);
            }
        }
    }

    public static void NormalizeRow(
        ArrayView<T> source, long sourceOffset, ArrayView<T> target, long targetOffset, int width, ArrayView<float> scale, ArrayView<float> shift,
        float epsilon)
    {
        var mean = 0f;
        for (var i = 0; i < width; i++)
        {
            mean += Load(source, sourceOffset + i);
        }

        mean /= width;
        var squares = 0f;
        for (var i = 0; i < width; i++)
        {
            var d = Load(source, sourceOffset + i) - mean;
            squares += d * d;
        }

        var factor = 1f / MathF.Sqrt((squares / width) + epsilon);
        for (var i = 0; i < width; i++)
        {
            Store(target, targetOffset + i, ((Load(source, sourceOffset + i) - mean) * factor * scale[i]) + shift[i]);
        }
    }

    /// <summary>Rows whose moments are taken in two passes before they are merged (Chan, Golub and LeVeque 1979).</summary>
    internal const int MomentRows = 128;
}
