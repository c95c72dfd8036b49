namespace StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;

/// <content>Everything with activations, norms and the softmax.</content>
internal static partial class ClVectorText
{
    /// <summary>
    /// The formulas of <c>PointwiseMath</c>. Adding 1.5 * 2^23 rounds to a whole number, which then stands in the lowest bits.
    /// </summary>
    private const string Functions = """
        #define EXP(x, y) do { \
            float16 x_ = clamp(x, -87.0f, 87.0f); \
            float16 m_ = fma(x_, (float16)(1.44269504f), (float16)(12582912.0f)); \
            float16 n_ = m_ - 12582912.0f; \
            float16 r_ = fma(n_, (float16)(-0.693359375f), x_); \
            r_ = fma(n_, (float16)(2.12194440e-4f), r_); \
            float16 p_ = fma((float16)(1.9875691500e-4f), r_, (float16)(1.3981999507e-3f)); \
            p_ = fma(p_, r_, (float16)(8.3334519073e-3f)); \
            p_ = fma(p_, r_, (float16)(4.1665795894e-2f)); \
            p_ = fma(p_, r_, (float16)(1.6666665459e-1f)); \
            p_ = fma(p_, r_, (float16)(5.0000001201e-1f)); \
            p_ = fma(p_ * r_, r_, r_) + 1.0f; \
            y = as_float16(as_int16(p_) + (as_int16(m_) << 23)); } while (0)
        #define EXP2(x, y) do { \
            float16 x_ = max(x, (float16)(-126.0f)); \
            float16 m_ = x_ + 12582912.0f; \
            float16 f_ = x_ - (m_ - 12582912.0f); \
            float16 p_ = fma((float16)(1.535336188e-4f), f_, (float16)(1.339887440e-3f)); \
            p_ = fma(p_, f_, (float16)(9.618437357e-3f)); \
            p_ = fma(p_, f_, (float16)(5.550332547e-2f)); \
            p_ = fma(p_, f_, (float16)(2.402264791e-1f)); \
            p_ = fma(p_, f_, (float16)(6.931472028e-1f)); \
            p_ = fma(p_, f_, (float16)(1.0f)); \
            y = as_float16(as_int16(p_) + (as_int16(m_) << 23)); } while (0)
        #define SILU(x) do { float16 e_; EXP(-x, e_); x = x / (1.0f + e_); } while (0)
        #define QUICK_GELU(x) do { float16 e_; EXP(x * -1.702f, e_); x = x / (1.0f + e_); } while (0)
        #define RELU(x) x = max(x, (float16)(0))
        #define GELU(x) do { \
            float16 a_ = fabs(x); \
            float16 t_ = 1.0f / fma((float16)(0.353553391f), a_, (float16)(1.0f)); \
            float16 q_ = fma((float16)(0.17087277f), t_, (float16)(-0.82215223f)); \
            q_ = fma(q_, t_, (float16)(1.48851587f)); \
            q_ = fma(q_, t_, (float16)(-1.13520398f)); \
            q_ = fma(q_, t_, (float16)(0.27886807f)); \
            q_ = fma(q_, t_, (float16)(-0.18628806f)); \
            q_ = fma(q_, t_, (float16)(0.09678418f)); \
            q_ = fma(q_, t_, (float16)(0.37409196f)); \
            q_ = fma(q_, t_, (float16)(1.00002368f)); \
            float16 z_ = fma(a_ * -0.5f, a_, fma(q_, t_, (float16)(-1.26551223f))); \
            float16 e_; EXP(z_, e_); \
            float16 tail_ = 0.5f * x * (t_ * e_); \
            x = select(x - tail_, tail_, x < 0.0f); } while (0)
        #define SOFT_CLAMP(x) do { \
            float16 u_ = x * (1.0f / 3.0f); \
            float16 s_ = u_ * u_; \
            float16 q_ = fma((float16)(-5.70498872745e-3f), s_, (float16)(2.06390887954e-2f)); \
            q_ = fma(q_, s_, (float16)(-5.37397155531e-2f)); \
            q_ = fma(q_, s_, (float16)(1.33314422036e-1f)); \
            q_ = fma(q_, s_, (float16)(-3.33332819422e-1f)); \
            float16 e_; EXP(u_ + u_, e_); \
            x = 3.0f * select(1.0f - 2.0f / (1.0f + e_), fma(u_ * s_, q_, u_), fabs(u_) < 0.625f); } while (0)

        """;

    public static string Finish { get; } = Functions + $$"""
        #define ACTIVATE(x) switch (activation) \
            { \
                case {{(int)Activation.Silu}}: SILU(x); break; \
                case {{(int)Activation.Gelu}}: GELU(x); break; \
                case {{(int)Activation.QuickGelu}}: QUICK_GELU(x); break; \
                case {{(int)Activation.Relu}}: RELU(x); break; \
                case {{(int)Activation.SoftClamp}}: SOFT_CLAMP(x); break; \
            }

        for (int i = 0; i < count; i += 16)
        {
            int column = geglu ? 2 * i : i;
            float16 value = vload16(0, sums + column) + vload16(0, bias + column);
            if (hasItemBias) value += LOAD16(i, itemBias);
            if (geglu)
            {
                float16 gate = vload16(0, sums + column + 16) + vload16(0, bias + column + 16);
                GELU(gate);
                value *= gate;
            }
            else if (!activatesSum)
            {
                ACTIVATE(value)
            }

            if (hasResidual) value += LOAD16(i, residual);
            if (activatesSum)
            {
                ACTIVATE(value)
            }

            STORE16(value, i, target);
        }
        """;

    public static string Softmax { get; } = Functions + $$"""

        const int16 lanes = (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        for (int lane = 0; lane < {{Tile.Columns}}; lane += 16)
        {
            gfloat* mine = scores + lane;
            for (int k = max(0, lastKey); k < keys && lastKey < keys - 1; k++)
            {
                float16 score = vload16(0, mine + k * {{Tile.Columns}});
                vstore16(select(score, (float16)(-1e30f), (int16)(k) > lanes + (lastKey + lane)), 0, mine + k * {{Tile.Columns}});
            }

            float16 before = vload16(0, state + lane);
            float16 maximum = before;
            for (int k = 0; k < keys; k++) maximum = max(maximum, vload16(0, mine + k * {{Tile.Columns}}));
            float16 sum = (float16)(0);
            for (int k = 0; k < keys; k++)
            {
                float16 weight;
                EXP2(vload16(0, mine + k * {{Tile.Columns}}) - maximum, weight);
                vstore16(weight, 0, mine + k * {{Tile.Columns}});
                sum += weight;
            }

            float16 rescale;
            EXP2(before - maximum, rescale);
            vstore16(maximum, 0, state + lane);
            vstore16(fma(vload16(0, state + {{Tile.Columns}} + lane), rescale, sum), 0, state + {{Tile.Columns}} + lane);
            for (int i = 0; i < depth; i++)
            {
                gfloat* at = output + i * {{Tile.Columns}} + lane;
                vstore16(vload16(0, at) * rescale, 0, at);
            }
        }
        """;

    public static string DivideBySum { get; } = $$"""
        for (int lane = 0; lane < {{Tile.Columns}}; lane += 16)
        {
            float16 factor = 1.0f / vload16(0, sums + lane);
            for (int i = 0; i < depth; i++)
            {
                gfloat* at = output + i * {{Tile.Columns}} + lane;
                vstore16(vload16(0, at) * factor, 0, at);
            }
        }
        """;

    public static string Moments { get; } = $$"""
        for (int column = 0; column < width; column += 16)
        {
            float16 meanSoFar = (float16)(0), deviationSoFar = (float16)(0);
            for (int start = 0; start < rows; start += {{PortableRows<float, FloatFormat>.MomentRows}})
            {
                int count = min({{PortableRows<float, FloatFormat>.MomentRows}}, rows - start);
                stored* first = from + (long)start * pitch + column;
                float16 even = (float16)(0), odd = (float16)(0);
                int row = 0;
                for (; row + 1 < count; row += 2)
                {
                    even += LOAD16(row * (long)pitch, first);
                    odd += LOAD16((row + 1) * (long)pitch, first);
                }

                if (row < count) even += LOAD16(row * (long)pitch, first);
                float16 blockMean = (even + odd) / (float)count;
                even = (float16)(0);
                odd = (float16)(0);
                for (row = 0; row + 1 < count; row += 2)
                {
                    float16 d = LOAD16(row * (long)pitch, first) - blockMean;
                    even = fma(d, d, even);
                    d = LOAD16((row + 1) * (long)pitch, first) - blockMean;
                    odd = fma(d, d, odd);
                }

                if (row < count)
                {
                    float16 d = LOAD16(row * (long)pitch, first) - blockMean;
                    even = fma(d, d, even);
                }

                float weight = (float)count / (float)(start + count);
                float16 change = blockMean - meanSoFar;
                deviationSoFar = deviationSoFar + even + odd + change * change * (weight * (float)start);
                meanSoFar = fma(change, (float16)(weight), meanSoFar);
            }

            vstore16(meanSoFar, 0, mean + column);
            vstore16(deviationSoFar, 0, deviation + column);
        }
        """;

    public static string Normalize { get; } = Functions + """

        for (int row = 0; row < rows; row++, from += sourcePitch, to += targetPitch)
        {
            for (int i = 0; i < width; i += 16)
            {
                float16 value = fma(LOAD16(i, from) - vload16(0, mean + i), vload16(0, scale + i), vload16(0, shift + i));
                if (silu) SILU(value);
                STORE16(value, i, to);
            }
        }
        """;

    public const string NormalizeRow = """
        #define SUM(v, result) do { float8 h_ = v.lo + v.hi; float4 q_ = h_.lo + h_.hi; float2 e_ = q_.lo + q_.hi; result = e_.x + e_.y; } while (0)

        float16 sum = (float16)(0);
        int i = 0;
        for (; i + 16 <= width; i += 16) sum += LOAD16(i, from);
        float total;
        SUM(sum, total);
        for (; i < width; i++) total += LOAD1(i, from);
        float mean = total / (float)width;
        float16 squares = (float16)(0);
        for (i = 0; i + 16 <= width; i += 16)
        {
            float16 d = LOAD16(i, from) - mean;
            squares = fma(d, d, squares);
        }

        float deviation;
        SUM(squares, deviation);
        for (; i < width; i++)
        {
            float d = LOAD1(i, from) - mean;
            deviation += d * d;
        }

        float factor = 1.0f / sqrt(deviation / (float)width + epsilon);
        for (i = 0; i + 16 <= width; i += 16)
        {
            STORE16(fma((LOAD16(i, from) - mean) * factor, vload16(0, scale + i), vload16(0, shift + i)), i, to);
        }

        for (; i < width; i++)
        {
            float value = (LOAD1(i, from) - mean) * factor * scale[i] + shift[i];
            STORE1(value, i, to);
        }
        """;
}
