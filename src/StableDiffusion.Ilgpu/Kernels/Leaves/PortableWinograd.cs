using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Gemm;

namespace StableDiffusion.Ilgpu.Kernels.Leaves;

/// <summary>Winograd's transforms in plain C#; the formulas are those of <c>SimdWinograd</c>.</summary>
internal static class PortableWinograd<T, TFormat>
    where T : unmanaged
    where TFormat : struct, IFormat<T>
{
    public static void TransformSource(
        ArrayView<T> source, long offset, int linePitch, int pixelPitch, int y, int x, int height, int width, int enlarged,
        ArrayView<float> target, int targetOffset, int distance, int count)
    {
        for (var c = 0; c < count; c++)
        {
            var to = targetOffset + c;
            for (var j = 0; j < Winograd.Side; j++)
            {
                for (var i = 0; i < Winograd.Side; i++)
                {
                    var inside = y + i >= 0 && y + i < height && x + j >= 0 && x + j < width;
                    target[to + (((i * Winograd.Side) + j) * distance)] = inside
                        ? default(TFormat).Load(source, offset + (((y + i) >> enlarged) * (long)linePitch) + (((x + j) >> enlarged) * (long)pixelPitch) + c)
                        : 0f;
                }

                Six(target, to + (j * distance), Winograd.Side * distance);
            }

            for (var i = 0; i < Winograd.Side; i++)
            {
                Six(target, to + (i * Winograd.Side * distance), distance);
            }
        }
    }

    public static void TransformWeights(
        ArrayView<T> weights, long offset, int tapPitch, ArrayView<float> target, int targetOffset, int distance, int pitch, int block, int depth)
    {
        for (var k = 0; k < depth; k++)
        {
            for (var column = 0; column < Tile.Columns; column++)
            {
                var from = offset + (k * Tile.Columns) + column;
                var to = targetOffset + (column / pitch * block) + (k * pitch) + (column % pitch);
                for (var j = 0; j < 3; j++)
                {
                    for (var i = 0; i < 3; i++)
                    {
                        target[to + (((i * Winograd.Side) + j) * distance)] = default(TFormat).Load(weights, from + (((i * 3) + j) * (long)tapPitch));
                    }

                    Filter(target, to + (j * distance), Winograd.Side * distance);
                }

                for (var i = 0; i < Winograd.Side; i++)
                {
                    Filter(target, to + (i * Winograd.Side * distance), distance);
                }
            }
        }
    }

    public static void TransformSums(ArrayView<float> sums, int offset, int distance, ArrayView<float> target, int targetOffset, int pitch)
    {
        for (var c = 0; c < pitch; c++)
        {
            for (var j = 0; j < Winograd.Side; j++)
            {
                var column = offset + c + (j * distance);
                Four(sums, column, Winograd.Side * distance, sums, column, Winograd.Side * distance);
            }

            for (var i = 0; i < Winograd.Pixels; i++)
            {
                Four(sums, offset + c + (i * Winograd.Side * distance), distance, target, targetOffset + (i * Winograd.Pixels * pitch) + c, pitch);
            }
        }
    }

    /// <summary>B^T d in place.</summary>
    private static void Six(ArrayView<float> d, int first, int distance)
    {
        var d0 = d[first];
        var d1 = d[first + distance];
        var d2 = d[first + (2 * distance)];
        var d3 = d[first + (3 * distance)];
        var d4 = d[first + (4 * distance)];
        var d5 = d[first + (5 * distance)];
        var even = d4 - (4 * d2);
        var odd = d3 - (4 * d1);
        var evenHalf = d4 - d2;
        var oddHalf = 2 * (d3 - d1);
        d[first] = (4 * d0) - (5 * d2) + d4;
        d[first + distance] = even + odd;
        d[first + (2 * distance)] = even - odd;
        d[first + (3 * distance)] = evenHalf + oddHalf;
        d[first + (4 * distance)] = evenHalf - oddHalf;
        d[first + (5 * distance)] = (4 * d1) - (5 * d3) + d5;
    }

    /// <summary>G g in place: three values become six.</summary>
    private static void Filter(ArrayView<float> g, int first, int distance)
    {
        var g0 = g[first];
        var g1 = g[first + distance];
        var g2 = g[first + (2 * distance)];
        var outer = -1f / 6 * (g0 + g2);
        var inner = -1f / 6 * g1;
        var outerTwo = (1f / 24 * g0) + (1f / 6 * g2);
        var innerTwo = 1f / 12 * g1;
        g[first] = 0.25f * g0;
        g[first + distance] = outer + inner;
        g[first + (2 * distance)] = outer - inner;
        g[first + (3 * distance)] = outerTwo + innerTwo;
        g[first + (4 * distance)] = outerTwo - innerTwo;
        g[first + (5 * distance)] = g2;
    }

    /// <summary>A^T m.</summary>
    private static void Four(ArrayView<float> source, int first, int distance, ArrayView<float> target, int to, int pitch)
    {
        var m0 = source[first];
        var m1 = source[first + distance];
        var m2 = source[first + (2 * distance)];
        var m3 = source[first + (3 * distance)];
        var m4 = source[first + (4 * distance)];
        var m5 = source[first + (5 * distance)];
        target[to] = m0 + m1 + m2 + (m3 + m4);
        target[to + pitch] = (2 * (m3 - m4)) + (m1 - m2);
        target[to + (2 * pitch)] = (4 * (m3 + m4)) + (m1 + m2);
        target[to + (3 * pitch)] = (8 * (m3 - m4)) + (m1 - m2) + m5;
    }
}
