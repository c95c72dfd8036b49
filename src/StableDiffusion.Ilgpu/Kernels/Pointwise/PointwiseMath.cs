using ILGPU;

namespace StableDiffusion.Ilgpu.Kernels.Pointwise;

/// <summary>Scalar functions that all backends compute with the same few operations.</summary>
internal static class PointwiseMath
{
    public const float Log2E = 1.44269504f;

    /// <summary>ln 2 in two parts: the first has few enough bits that its product with a small integer is exact.</summary>
    public const float Ln2High = 0.693359375f;

    public const float Ln2Low = -2.12194440e-4f;

    /// <summary>Beyond these e^x and 2^x are clamped, so that results stay normal numbers.</summary>
    public const float ExpLimit = 87f;

    public const float Exp2Limit = 126f;

    public const float SoftClampFactor = 1f / 3f;

    /// <summary>Where tanh takes its polynomial.</summary>
    public const float SoftClampSmall = 0.625f;

    public static float Exp(float x)
    {
        x = IntrinsicMath.Clamp(x, -ExpLimit, ExpLimit);
        var n = Round(x * Log2E);
        var r = x - (n * Ln2High) - (n * Ln2Low);
        return Scale(ExpPolynomial(r), (int)n);
    }

    public static float Exp2(float x)
    {
        x = IntrinsicMath.Clamp(x, -Exp2Limit, Exp2Limit);
        var n = Round(x);
        return Scale(ExpPolynomial((x - n) * 0.693147181f), (int)n);
    }

    /// <summary>sin x for |x| up to 1e4: the multiple of pi / 2 is taken off in three parts (Cody and Waite).</summary>
    public static float Sin(float x) => SinQuadrant(x, 0);

    public static float Cos(float x) => SinQuadrant(x, 1);

    /// <summary>sin(x + shift * pi / 2).</summary>
    private static float SinQuadrant(float x, int shift)
    {
        var n = Round(x * 0.636619772f);
        var r = x - (n * 1.5703125f);
        r -= n * 4.837512969970703125e-4f;
        r -= n * 7.54978995489188e-8f;
        var quadrant = ((int)n + shift) & 3;
        var square = r * r;
        var sine = r + (r * square * ((((-1.9515295891e-4f * square) + 8.3321608736e-3f) * square) - 1.6666654611e-1f));
        var cosine = 1f - (0.5f * square) + (square * square * ((((2.443315711809948e-5f * square) - 1.388731625493765e-3f) * square) + 4.166664568298827e-2f));
        var value = (quadrant & 1) == 0 ? sine : cosine;
        return quadrant < 2 ? value : -value;
    }

    /// <summary>e^r for |r| up to ln 2 / 2 (the fit of Cephes' expf).</summary>
    private static float ExpPolynomial(float r)
    {
        var p = 1.9875691500e-4f;
        p = (p * r) + 1.3981999507e-3f;
        p = (p * r) + 8.3334519073e-3f;
        p = (p * r) + 4.1665795894e-2f;
        p = (p * r) + 1.6666665459e-1f;
        p = (p * r) + 5.0000001201e-1f;
        return (p * r * r) + r + 1f;
    }

    /// <summary>To the nearest whole number, for |x| below 2^22.</summary>
    private static float Round(float x) => (x + 12582912f) - 12582912f;

    private static float Scale(float x, int n) => Interop.IntAsFloat((uint)((int)Interop.FloatAsInt(x) + (n << 23)));
}
