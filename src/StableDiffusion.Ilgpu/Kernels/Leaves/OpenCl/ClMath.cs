using System.Globalization;
using ILGPU;
using ILGPU.Backends;
using ILGPU.Backends.OpenCL;
using ILGPU.IR;
using ILGPU.IR.Intrinsics;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;

#pragma warning disable CA1801, IDE0060 // The methods stand for OpenCL text that uses their parameters.

/// <summary>Functions of OpenCL C that ILGPU has no name for, which <see cref="ClMathCode"/> writes.</summary>
internal static class ClMath
{
    [IntrinsicImplementation]
    public static float Widen(int bits) => throw ClVector.NotOpenCl();

    [IntrinsicImplementation]
    public static int Narrow(float value) => throw ClVector.NotOpenCl();

    /// <summary>To 3 units in the last place (OpenCL C, "Relative Error as ULPs"), where a device has an instruction for it in a few.</summary>
    [IntrinsicImplementation]
    public static float Exp2(float x) => throw ClVector.NotOpenCl();
}

/// <summary>
/// OpenCL's conversions between memory and registers, which are no extension: where a device has instructions for them, they are these. And its
/// exponential function, for which GPUs have an instruction.
/// </summary>
internal struct ClHalfConversion : IHalfConversion
{
    public readonly float Widen(int bits) => ClMath.Widen(bits);

    public readonly int Narrow(float value) => ClMath.Narrow(value);

    public readonly int NarrowPair(float lower, float upper) => ClMath.Narrow(lower) | (ClMath.Narrow(upper) << 16);

    public readonly float Exp2(float x) => ClMath.Exp2(x);

    public readonly float Reciprocal(float x) => 1f / x;
}

/// <summary>Writes OpenCL C where a kernel calls <see cref="ClMath"/> or <see cref="DeviceMath"/>.</summary>
internal static class ClMathCode
{
    /// <summary>Must run for every context in which kernels for GPUs are compiled.</summary>
    public static void Register(Context.Builder builder)
    {
        ClVectorCode.Register(builder, typeof(ClMath), typeof(ClMathCode));
        ClVectorCode.Register(builder, typeof(DeviceMath), typeof(ClMathCode));
    }

    // Without an extension, OpenCL knows fp16 only behind pointers. The pattern lies in a variable of its own for that, which compilers keep in a
    // register.
    public static void Widen(CLBackend backend, CLCodeGenerator generator, Value value) =>
        WriteBits(generator, value, "ushort {0} = (ushort)({1});", "vload_half(0, (const __private half*)&{0})");

    public static void Narrow(CLBackend backend, CLCodeGenerator generator, Value value) =>
        WriteBits(generator, value, "ushort {0}; vstore_half_rte({1}, 0, (__private half*)&{0});", "{0}");

    public static void Exp2(CLBackend backend, CLCodeGenerator generator, Value value) => WriteCall(generator, value, "exp2");

    /// <summary>Fused where that is fast; a device without a fast one may round in between.</summary>
    public static void MultiplyAdd(CLBackend backend, CLCodeGenerator generator, Value value) => WriteCall(generator, value, "mad");

    private static void WriteCall(CLCodeGenerator generator, Value value, string function)
    {
        var arguments = new List<string>();
        foreach (var argument in value)
        {
            arguments.Add(ClBlock.Text(generator, argument));
        }

        var target = generator.Allocate(value);
        using var assignment = generator.BeginStatement(target);
        assignment.AppendOperation($"{function}({string.Join(", ", arguments)})");
    }

    /// <param name="generator">Writes the call.</param>
    /// <param name="value">The call.</param>
    /// <param name="statement">Declares the pattern, {0}, from the argument, {1}.</param>
    /// <param name="result">The call's value.</param>
    private static void WriteBits(CLCodeGenerator generator, Value value, string statement, string result)
    {
        var target = generator.Allocate(value);
        var (bits, argument) = ($"{target.VariableName}_bits", ClBlock.Text(generator, value[0]));
        generator.Builder.Append('\t').AppendLine(string.Format(CultureInfo.InvariantCulture, statement, bits, argument));
        using var assignment = generator.BeginStatement(target);
        assignment.AppendOperation(string.Format(CultureInfo.InvariantCulture, result, bits));
    }
}
