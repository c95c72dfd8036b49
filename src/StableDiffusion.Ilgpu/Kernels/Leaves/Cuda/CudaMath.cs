using ILGPU;
using ILGPU.Backends;
using ILGPU.Backends.PTX;
using ILGPU.IR;
using ILGPU.IR.Intrinsics;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

#pragma warning disable CA1801, IDE0060 // The methods stand for instructions that use their parameters.

/// <summary>
/// Instructions that ILGPU has no name for, which <see cref="CudaMathCode"/> writes. The functions are good to about 2^-22 of the result;
/// subnormal numbers are 0 to them.
/// </summary>
internal static class CudaMath
{
    [IntrinsicImplementation]
    public static float Exp2(float x) => throw NotCuda();

    [IntrinsicImplementation]
    public static float Reciprocal(float x) => throw NotCuda();

    /// <summary>Two fp16 patterns, where two conversions by themselves would take the few units that the functions take too.</summary>
    [IntrinsicImplementation]
    public static int NarrowPair(float lower, float upper) => throw NotCuda();

    private static NotSupportedException NotCuda() => new("only kernels for CUDA can call this");
}

/// <summary>
/// Writes the instructions where a kernel calls <see cref="CudaMath"/> or <see cref="DeviceMath"/>. ILGPU finds these methods by their names, those of the calls. Text of
/// <see cref="PtxCode"/> would not do: it has results in memory only.
/// </summary>
internal static class CudaMathCode
{
    /// <summary>Must run for every context in which kernels with <see cref="CudaHalfConversion"/> are compiled.</summary>
    public static void Register(Context.Builder builder)
    {
        foreach (var call in new[] { typeof(CudaMath), typeof(DeviceMath) }.SelectMany(type => type.GetMethods()).Where(m => m.IsDefined(typeof(IntrinsicImplementationAttribute), false)))
        {
            builder.GetIntrinsicManager().RegisterMethod(
                call, new PTXIntrinsic(typeof(CudaMathCode), call.Name, IntrinsicImplementationMode.GenerateCode));
        }
    }

    public static void Exp2(PTXBackend backend, PTXCodeGenerator generator, Value value) => Write(generator, value, "ex2.approx.ftz.f32", value[0]);

    public static void Reciprocal(PTXBackend backend, PTXCodeGenerator generator, Value value) => Write(generator, value, "rcp.approx.ftz.f32", value[0]);

    public static void NarrowPair(PTXBackend backend, PTXCodeGenerator generator, Value value) =>
        Write(generator, value, "cvt.rn.f16x2.f32", value[1], value[0]);

    public static void MultiplyAdd(PTXBackend backend, PTXCodeGenerator generator, Value value) =>
        Write(generator, value, "fma.rn.f32", value[0], value[1], value[2]);

    private static void Write(PTXCodeGenerator generator, Value value, string instruction, params ReadOnlySpan<Value> operands)
    {
        var arguments = new List<RegisterAllocator<PTXRegisterKind>.PrimitiveRegister>();
        foreach (var operand in operands)
        {
            arguments.Add(generator.LoadPrimitive(operand));
        }

        var target = generator.AllocateHardware(value);
        using var command = generator.BeginCommand(instruction);
        command.AppendArgument(target);
        foreach (var argument in arguments)
        {
            command.AppendArgument(argument);
        }
    }
}
