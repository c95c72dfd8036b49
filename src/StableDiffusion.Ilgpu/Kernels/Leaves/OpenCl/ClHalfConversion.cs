using System.Globalization;
using ILGPU;
using ILGPU.Backends.OpenCL;
using ILGPU.IR;
using ILGPU.IR.Intrinsics;
using StableDiffusion.Ilgpu.Kernels.Pointwise;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;

#pragma warning disable CA1801, IDE0060 // The methods stand for OpenCL text that uses their parameters.

/// <summary>OpenCL's conversions between memory and registers, which are no extension: where a device has instructions for them, they are these.</summary>
internal struct ClHalfConversion : IHalfConversion
{
    public readonly float Widen(int bits) => ClHalfBits.Widen(bits);

    public readonly int Narrow(float value) => ClHalfBits.Narrow(value);

    public readonly int NarrowPair(float lower, float upper) => ClHalfBits.Narrow(lower) | (ClHalfBits.Narrow(upper) << 16);

    public readonly float Exp(float x) => PointwiseMath.Exp(x);

    public readonly float Reciprocal(float x) => 1f / x;
}

/// <summary>What <see cref="ClHalfBitsCode"/> writes text for.</summary>
internal static class ClHalfBits
{
    [IntrinsicImplementation]
    public static float Widen(int bits) => throw ClVector.NotOpenCl();

    [IntrinsicImplementation]
    public static int Narrow(float value) => throw ClVector.NotOpenCl();
}

/// <summary>
/// Without an extension, OpenCL knows fp16 only behind pointers. The pattern lies in a variable of its own for that, which compilers keep in a
/// register.
/// </summary>
internal static class ClHalfBitsCode
{
    /// <summary>Must run for every context in which kernels with <see cref="ClHalfConversion"/> are compiled.</summary>
    public static void Register(Context.Builder builder) => ClVectorCode.Register(builder, typeof(ClHalfBits), typeof(ClHalfBitsCode));

    public static void Widen(CLBackend backend, CLCodeGenerator generator, Value value) =>
        Write(generator, value, "ushort {0} = (ushort)({1});", "vload_half(0, (const __private half*)&{0})");

    public static void Narrow(CLBackend backend, CLCodeGenerator generator, Value value) =>
        Write(generator, value, "ushort {0}; vstore_half_rte({1}, 0, (__private half*)&{0});", "{0}");

    /// <param name="generator">Writes the call.</param>
    /// <param name="value">The call.</param>
    /// <param name="statement">Declares the pattern, {0}, from the argument, {1}.</param>
    /// <param name="result">The call's value.</param>
    private static void Write(CLCodeGenerator generator, Value value, string statement, string result)
    {
        var target = generator.Allocate(value);
        var (bits, argument) = ($"{target.VariableName}_bits", ClBlock.Text(generator, value[0]));
        generator.Builder.Append('\t').AppendLine(string.Format(CultureInfo.InvariantCulture, statement, bits, argument));
        using var assignment = generator.BeginStatement(target);
        assignment.AppendOperation(string.Format(CultureInfo.InvariantCulture, result, bits));
    }
}
