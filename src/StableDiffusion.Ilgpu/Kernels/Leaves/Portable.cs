using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Pointwise;

namespace StableDiffusion.Ilgpu.Kernels.Leaves;

/// <summary>
/// The leaves in plain C#, for any device, on fp32 scratch memory only. The parts that touch stored values are in
/// <see cref="PortableRows{T, TFormat}"/>.
/// </summary>
internal static class Portable
{
    public static void Clear(ArrayView<float> target, int offset, int pitch, int rows, int count)
    {
        for (var row = 0; row < rows; row++)
        {
            for (var i = 0; i < count; i++)
            {
                target[offset + (row * pitch) + i] = 0;
            }
        }
    }

    public static void Multiply(
        ArrayView<float> a, int aOffset, int aPitch, ArrayView<float> b, int bOffset, int bPitch, ArrayView<float> c, int cOffset, int cPitch,
        int rows, int depth, int accumulate)
    {
        for (var row = 0; row < rows; row++)
        {
            for (var column = 0; column < bPitch; column += 4)
            {
                float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
                var target = cOffset + (row * cPitch) + column;
                if (accumulate != 0)
                {
                    s0 = c[target];
                    s1 = c[target + 1];
                    s2 = c[target + 2];
                    s3 = c[target + 3];
                }

                for (var k = 0; k < depth; k++)
                {
                    var left = a[aOffset + (row * aPitch) + k];
                    var right = bOffset + column + (k * bPitch);
                    s0 += left * b[right];
                    s1 += left * b[right + 1];
                    s2 += left * b[right + 2];
                    s3 += left * b[right + 3];
                }

                c[target] = s0;
                c[target + 1] = s1;
                c[target + 2] = s2;
                c[target + 3] = s3;
            }
        }
    }

    public static void MultiplyTransposed(
        ArrayView<float> a, int aOffset, int aPitch, ArrayView<float> b, int bOffset, ArrayView<float> c, int cOffset, int rows, int depth)
    {
        for (var row = 0; row < rows; row++)
        {
            for (var column = 0; column < Tile.Columns; column++)
            {
                var target = cOffset + (row * Tile.Columns) + column;
                var sum = c[target];
                for (var k = 0; k < depth; k++)
                {
                    sum += a[aOffset + (k * aPitch) + row] * b[bOffset + (k * Tile.Columns) + column];
                }

                c[target] = sum;
            }
        }
    }

    public static void Softmax(
        ArrayView<float> scores, int scoresOffset, int keys, ArrayView<float> state, int stateOffset, ArrayView<float> output, int outputOffset, int depth,
        int lastKey)
    {
        for (var lane = 0; lane < Tile.Columns; lane++)
        {
            var visible = IntrinsicMath.Min(keys, lastKey + lane + 1);
            var before = state[stateOffset + lane];
            var maximum = before;
            for (var k = 0; k < visible; k++)
            {
                maximum = IntrinsicMath.Max(maximum, scores[scoresOffset + (k * Tile.Columns) + lane]);
            }

            var sum = 0f;
            for (var k = 0; k < keys; k++)
            {
                var index = scoresOffset + (k * Tile.Columns) + lane;
                var weight = k < visible ? PointwiseMath.Exp2(scores[index] - maximum) : 0f;
                scores[index] = weight;
                sum += weight;
            }

            var rescale = PointwiseMath.Exp2(before - maximum);
            state[stateOffset + lane] = maximum;
            state[stateOffset + Tile.Columns + lane] = (state[stateOffset + Tile.Columns + lane] * rescale) + sum;
            for (var i = 0; i < depth; i++)
            {
                output[outputOffset + (i * Tile.Columns) + lane] *= rescale;
            }
        }
    }

    public static void DivideBySum(ArrayView<float> state, int stateOffset, ArrayView<float> output, int outputOffset, int depth)
    {
        for (var lane = 0; lane < Tile.Columns; lane++)
        {
            var factor = 1f / state[stateOffset + Tile.Columns + lane];
            for (var i = 0; i < depth; i++)
            {
                output[outputOffset + (i * Tile.Columns) + lane] *= factor;
            }
        }
    }
}
