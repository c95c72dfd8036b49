using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Pointwise;

/// <summary>What activations are made of: as precise as their results will be stored.</summary>
internal interface IElementaryFunctions
{
    /// <summary>e^x. Where it is too large, it is infinite or the largest that can be told; where it is too small, 0 or the smallest.</summary>
    float Exp(float x);

    /// <summary>dividend / divisor, for a divisor from 1 on.</summary>
    float Quotient(float dividend, float divisor);
}

/// <summary>The same few operations on all backends.</summary>
internal struct PreciseFunctions : IElementaryFunctions
{
    public readonly float Exp(float x) => PointwiseMath.Exp(x);

    public readonly float Quotient(float dividend, float divisor) => dividend / divisor;
}

/// <summary>A function of one value.</summary>
internal interface IScalarFunction
{
    float Of(float x);
}

/// <summary>
/// The activations of <see cref="Activation"/>, of one value and of eight. With <see cref="PreciseFunctions"/> good to 8e-7 of themselves; with a device's
/// own exponential function and reciprocal (<see cref="GpuHalfFormat{TConversion}"/>) to about 3e-6 of what fp16 can hold, where fp16's rounding is 4.9e-4.
/// </summary>
internal static class Activations<TFunctions> where TFunctions : struct, IElementaryFunctions
{
    /// <param name="x">The value.</param>
    /// <param name="activation">A value of <see cref="Activation"/>.</param>
    public static float Of(float x, int activation) => activation switch
    {
        (int)Activation.Silu => default(Silu).Of(x),
        (int)Activation.Gelu => default(Gelu).Of(x),
        (int)Activation.QuickGelu => default(QuickGelu).Of(x),
        (int)Activation.Relu => default(Relu).Of(x),
        (int)Activation.SoftClamp => default(SoftClamp).Of(x),
        _ => x,
    };

    /// <summary>Chosen once for all eight.</summary>
    /// <param name="values">The values.</param>
    /// <param name="activation">A value of <see cref="Activation"/>.</param>
    public static Float8 Of(Float8 values, int activation) => activation switch
    {
        (int)Activation.Silu => Of<Silu>(values),
        (int)Activation.Gelu => Of<Gelu>(values),
        (int)Activation.QuickGelu => Of<QuickGelu>(values),
        (int)Activation.Relu => Of<Relu>(values),
        (int)Activation.SoftClamp => Of<SoftClamp>(values),
        _ => values,
    };

    public static Float8 Of<TFunction>(Float8 values) where TFunction : struct, IScalarFunction =>
        new() { Low = OfFour<TFunction>(values.Low), High = OfFour<TFunction>(values.High) };

    private static Float4 OfFour<TFunction>(Float4 values) where TFunction : struct, IScalarFunction => new()
    {
        X = default(TFunction).Of(values.X),
        Y = default(TFunction).Of(values.Y),
        Z = default(TFunction).Of(values.Z),
        W = default(TFunction).Of(values.W),
    };

    /// <summary>x / (1 + e^-x). Where e^-x is infinite, it is 0, as in fp16.</summary>
    public struct Silu : IScalarFunction
    {
        public readonly float Of(float x) => default(TFunctions).Quotient(x, 1f + default(TFunctions).Exp(-x));
    }

    public struct QuickGelu : IScalarFunction
    {
        public readonly float Of(float x) => default(TFunctions).Quotient(x, 1f + default(TFunctions).Exp(-1.702f * x));
    }

    /// <summary>
    /// x Φ(x). The complementary error function keeps the relative precision of the negative side: 2 (1 - Φ(x)) = erfc(x / √2) for x >= 0. With
    /// z = x / √2: t e^(-z² + P(t)), t = 1 / (1 + z / 2) (Chebyshev fit, Numerical Recipes, relative error 1.2e-7). The exponent's rounding is what
    /// counts, so z² is x² / 2, without the rounding of z.
    /// </summary>
    public struct Gelu : IScalarFunction
    {
        public readonly float Of(float x)
        {
            var size = IntrinsicMath.Abs(x);
            var t = default(TFunctions).Quotient(1f, 1f + (0.353553391f * size));
            var tail = 0.5f * x * (t * default(TFunctions).Exp(TailExponent(size, t)));
            return x < 0 ? tail : x - tail;
        }

        /// <summary>-z² + P(t).</summary>
        private static float TailExponent(float x, float t)
        {
            var p = 0.17087277f;
            p = (p * t) - 0.82215223f;
            p = (p * t) + 1.48851587f;
            p = (p * t) - 1.13520398f;
            p = (p * t) + 0.27886807f;
            p = (p * t) - 0.18628806f;
            p = (p * t) + 0.09678418f;
            p = (p * t) + 0.37409196f;
            p = (p * t) + 1.00002368f;
            return (p * t) - 1.26551223f - (0.5f * x * x);
        }
    }

    public struct Relu : IScalarFunction
    {
        public readonly float Of(float x) => IntrinsicMath.Max(x, 0f);
    }

    /// <summary>3 tanh(x / 3), with the fit of Cephes' tanhf where the formula with e^x would cancel.</summary>
    public struct SoftClamp : IScalarFunction
    {
        public readonly float Of(float x)
        {
            var u = x * PointwiseMath.SoftClampFactor;
            var square = u * u;
            var p = -5.70498872745e-3f;
            p = (p * square) + 2.06390887954e-2f;
            p = (p * square) - 5.37397155531e-2f;
            p = (p * square) + 1.33314422036e-1f;
            p = (p * square) - 3.33332819422e-1f;
            var tanh = IntrinsicMath.Abs(u) < PointwiseMath.SoftClampSmall
                ? u + (u * square * p) : 1f - default(TFunctions).Quotient(2f, 1f + default(TFunctions).Exp(2f * u));
            return 3f * tanh;
        }
    }
}
