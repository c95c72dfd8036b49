using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Pointwise;

/// <summary>
/// <see cref="ChunkMath"/> for what will be rounded to fp16: the formulas of <see cref="PointwiseMath"/> with a device's own exponential function
/// and reciprocal. Good to about 3e-6 of what fp16 can hold, where fp16's rounding is 4.9e-4.
/// </summary>
internal static class HalfMath<TConversion> where TConversion : struct, IHalfConversion
{
    public static Float8 Activate(Float8 values, int activation) => activation switch
    {
        (int)Activation.Silu => Silu(values),
        (int)Activation.Gelu => Gelu(values),
        (int)Activation.QuickGelu => new() { Low = QuickGelu(values.Low), High = QuickGelu(values.High) },
        (int)Activation.Relu => ChunkMath.Relu(values),
        (int)Activation.SoftClamp => ChunkMath.SoftClamp(values),
        _ => values,
    };

    public static Float8 Silu(Float8 values) => new() { Low = Silu(values.Low), High = Silu(values.High) };

    public static Float8 Gelu(Float8 values) => new() { Low = Gelu(values.Low), High = Gelu(values.High) };

    private static Float4 Silu(Float4 values) => new() { X = Silu(values.X), Y = Silu(values.Y), Z = Silu(values.Z), W = Silu(values.W) };

    private static Float4 Gelu(Float4 values) => new() { X = Gelu(values.X), Y = Gelu(values.Y), Z = Gelu(values.Z), W = Gelu(values.W) };

    private static Float4 QuickGelu(Float4 values) =>
        new() { X = QuickGelu(values.X), Y = QuickGelu(values.Y), Z = QuickGelu(values.Z), W = QuickGelu(values.W) };

    /// <summary>Where the exponential function is infinite, its reciprocal is 0, and so is SiLU in fp16.</summary>
    private static float Silu(float x) => x * Reciprocal(1f + Exp(-x));

    private static float QuickGelu(float x) => x * Reciprocal(1f + Exp(-1.702f * x));

    private static float Gelu(float x)
    {
        var size = IntrinsicMath.Abs(x);
        var t = Reciprocal(PointwiseMath.TailArgument(size));
        var tail = 0.5f * x * (t * Exp(PointwiseMath.TailExponent(size, t)));
        return x < 0 ? tail : x - tail;
    }

    private static float Exp(float x) => default(TConversion).Exp2(x * PointwiseMath.Log2E);

    private static float Reciprocal(float x) => default(TConversion).Reciprocal(x);
}
