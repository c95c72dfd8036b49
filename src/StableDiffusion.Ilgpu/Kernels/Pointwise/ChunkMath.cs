using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Pointwise;

/// <summary><see cref="PointwiseMath"/> on the eight values that a work-item moves at once.</summary>
internal static class ChunkMath
{
    public static Float8 Activate(Float8 values, int activation) =>
        new() { Low = Activate(values.Low, activation), High = Activate(values.High, activation) };

    public static Float8 Silu(Float8 values) => new() { Low = Silu(values.Low), High = Silu(values.High) };

    public static Float8 Gelu(Float8 values) => new() { Low = Gelu(values.Low), High = Gelu(values.High) };

    public static Float8 Relu(Float8 values) => new() { Low = Relu(values.Low), High = Relu(values.High) };

    public static Float8 SoftClamp(Float8 values) => new() { Low = SoftClamp(values.Low), High = SoftClamp(values.High) };

    private static Float4 Activate(Float4 values, int activation) => new()
    {
        X = PointwiseMath.Activate(values.X, activation),
        Y = PointwiseMath.Activate(values.Y, activation),
        Z = PointwiseMath.Activate(values.Z, activation),
        W = PointwiseMath.Activate(values.W, activation),
    };

    private static Float4 Silu(Float4 values) => new()
    {
        X = PointwiseMath.Silu(values.X),
        Y = PointwiseMath.Silu(values.Y),
        Z = PointwiseMath.Silu(values.Z),
        W = PointwiseMath.Silu(values.W),
    };

    private static Float4 Gelu(Float4 values) => new()
    {
        X = PointwiseMath.Gelu(values.X),
        Y = PointwiseMath.Gelu(values.Y),
        Z = PointwiseMath.Gelu(values.Z),
        W = PointwiseMath.Gelu(values.W),
    };

    private static Float4 Relu(Float4 values) => new()
    {
        X = PointwiseMath.Relu(values.X),
        Y = PointwiseMath.Relu(values.Y),
        Z = PointwiseMath.Relu(values.Z),
        W = PointwiseMath.Relu(values.W),
    };

    private static Float4 SoftClamp(Float4 values) => new()
    {
        X = PointwiseMath.SoftClamp(values.X),
        Y = PointwiseMath.SoftClamp(values.Y),
        Z = PointwiseMath.SoftClamp(values.Z),
        W = PointwiseMath.SoftClamp(values.W),
    };
}
