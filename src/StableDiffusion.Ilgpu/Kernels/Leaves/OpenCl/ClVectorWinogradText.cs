using StableDiffusion.Ilgpu.Kernels.Gemm;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;

/// <content>Winograd's transforms, with the formulas of <c>SimdWinograd</c>.</content>
internal static partial class ClVectorText
{
    private const string Six = """
        #define SIX(d0, d1, d2, d3, d4, d5, p, step) do { \
            float16 even_ = fma((float16)(-4.0f), d2, d4), odd_ = fma((float16)(-4.0f), d1, d3); \
            float16 evenHalf_ = d4 - d2, oddHalf_ = 2.0f * (d3 - d1); \
            vstore16(fma((float16)(4.0f), d0, fma((float16)(-5.0f), d2, d4)), 0, p); \
            vstore16(fma((float16)(4.0f), d1, fma((float16)(-5.0f), d3, d5)), 0, (p) + 5 * (step)); \
            vstore16(even_ + odd_, 0, (p) + (step)); \
            vstore16(even_ - odd_, 0, (p) + 2 * (step)); \
            vstore16(evenHalf_ + oddHalf_, 0, (p) + 3 * (step)); \
            vstore16(evenHalf_ - oddHalf_, 0, (p) + 4 * (step)); } while (0)

        """;

    private const string Filter = """
        #define FILTER(g0, g1, g2, p, step) do { \
            float16 outer_ = (-1.0f / 6) * (g0 + g2), inner_ = (-1.0f / 6) * g1; \
            float16 outerTwo_ = fma((float16)(1.0f / 24), g0, (1.0f / 6) * g2), innerTwo_ = (1.0f / 12) * g1; \
            vstore16(0.25f * g0, 0, p); \
            vstore16(outer_ + inner_, 0, (p) + (step)); \
            vstore16(outer_ - inner_, 0, (p) + 2 * (step)); \
            vstore16(outerTwo_ + innerTwo_, 0, (p) + 3 * (step)); \
            vstore16(outerTwo_ - innerTwo_, 0, (p) + 4 * (step)); \
            vstore16(g2, 0, (p) + 5 * (step)); } while (0)

        """;

    private const string Four = """
        #define FOUR(s, from, p, to) do { \
            float16 m0_ = vload16(0, s), m1_ = vload16(0, (s) + (from)), m2_ = vload16(0, (s) + 2 * (from)); \
            float16 m3_ = vload16(0, (s) + 3 * (from)), m4_ = vload16(0, (s) + 4 * (from)), m5_ = vload16(0, (s) + 5 * (from)); \
            float16 sum_ = m1_ + m2_, difference_ = m1_ - m2_, sumTwo_ = m3_ + m4_, differenceTwo_ = m3_ - m4_; \
            vstore16(m0_ + sum_ + sumTwo_, 0, p); \
            vstore16(fma((float16)(2.0f), differenceTwo_, difference_), 0, (p) + (to)); \
            vstore16(fma((float16)(4.0f), sumTwo_, sum_), 0, (p) + 2 * (to)); \
            vstore16(fma((float16)(8.0f), differenceTwo_, difference_) + m5_, 0, (p) + 3 * (to)); } while (0)

        """;

    public static string TransformSource { get; } = Six + $$"""
        #define PIXEL(i) (column && firstY + i >= 0 && firstY + i < height \
            ? LOAD16(((firstY + i) >> enlarged) * (long)linePitch + x * (long)pixelPitch + channel, from) : (float16)(0))

        for (int channel = 0; channel < count; channel += 16)
        {
            gfloat* to = target + channel;
            for (int j = 0; j < {{Winograd.Side}}; j++)
            {
                int column = firstX + j >= 0 && firstX + j < width;
                int x = (firstX + j) >> enlarged;
                float16 d0 = PIXEL(0), d1 = PIXEL(1), d2 = PIXEL(2), d3 = PIXEL(3), d4 = PIXEL(4), d5 = PIXEL(5);
                SIX(d0, d1, d2, d3, d4, d5, to + j * distance, {{Winograd.Side}} * distance);
            }

            for (int i = 0; i < {{Winograd.Side}}; i++)
            {
                gfloat* row = to + i * {{Winograd.Side}} * distance;
                float16 d0 = vload16(0, row), d1 = vload16(0, row + distance), d2 = vload16(0, row + 2 * distance);
                float16 d3 = vload16(0, row + 3 * distance), d4 = vload16(0, row + 4 * distance), d5 = vload16(0, row + 5 * distance);
                SIX(d0, d1, d2, d3, d4, d5, row, distance);
            }
        }
        """;

    public static string TransformWeights { get; } = Filter + $$"""

        for (int k = 0; k < depth; k++)
        {
            for (int column = 0; column < {{Tile.Columns}}; column += 16)
            {
                stored* mine = from + k * {{Tile.Columns}} + column;
                gfloat* to = target + column / pitch * block + k * pitch + column % pitch;
                for (int j = 0; j < 3; j++)
                {
                    float16 g0 = LOAD16(j * (long)tapPitch, mine), g1 = LOAD16((j + 3) * (long)tapPitch, mine), g2 = LOAD16((j + 6) * (long)tapPitch, mine);
                    FILTER(g0, g1, g2, to + j * distance, {{Winograd.Side}} * distance);
                }

                for (int i = 0; i < {{Winograd.Side}}; i++)
                {
                    gfloat* row = to + i * {{Winograd.Side}} * distance;
                    float16 g0 = vload16(0, row), g1 = vload16(0, row + distance), g2 = vload16(0, row + 2 * distance);
                    FILTER(g0, g1, g2, row, distance);
                }
            }
        }
        """;

    public static string TransformSums { get; } = Four + $$"""

        for (int column = 0; column < pitch; column += 16)
        {
            for (int j = 0; j < {{Winograd.Side}}; j++)
            {
                gfloat* at = sums + column + j * distance;
                FOUR(at, {{Winograd.Side}} * distance, at, {{Winograd.Side}} * distance);
            }

            for (int i = 0; i < {{Winograd.Pixels}}; i++)
            {
                FOUR(sums + column + i * {{Winograd.Side}} * distance, distance, target + i * {{Winograd.Pixels}} * pitch + column, pitch);
            }
        }
        """;
}
