using ILGPU;
using ILGPU.Backends.PTX;
using ILGPU.IR;
using ILGPU.IR.Intrinsics;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

#pragma warning disable CA1801, IDE0060 // The methods stand for instructions that use their parameters.

/// <summary>
/// Instructions of CUDA's units for special functions, which <see cref="CudaMathCode"/> writes. Good to about 2^-22 of the result; subnormal
/// numbers are 0 to them.
/// </summary>
internal static class CudaMath
{
    [IntrinsicImplementation]
    public static float Exp2(float x) => throw NotCuda();

    [IntrinsicImplementation]
    public static float Reciprocal(float x) => throw NotCuda();

    private static NotSupportedException NotCuda() => new("only kernels for CUDA can call this");
}

/// <summary>
/// Writes the instructions where a kernel calls <see cref="CudaMath"/>. ILGPU finds these methods by their names, those of the calls. Text of
/// <see cref="PtxCode"/> would not do: it has results in memory only.
/// </summary>
internal static class CudaMathCode
{
    /// <summary>Must run for every context in which kernels with <see cref="CudaHalfConversion"/> are compiled.</summary>
    public static void Register(Context.Builder builder)
    {
        foreach (var call in typeof(CudaMath).GetMethods().Where(m => m.IsDefined(typeof(IntrinsicImplementationAttribute), false)))
        {
            builder.GetIntrinsicManager().RegisterMethod(
                call, new PTXIntrinsic(typeof(CudaMathCode), call.Name, IntrinsicImplementationMode.GenerateCode));
        }
    }

    public static void Exp2(PTXBackend backend, PTXCodeGenerator generator, Value value) => Write(generator, value, "ex2.approx.ftz.f32");

    public static void Reciprocal(PTXBackend backend, PTXCodeGenerator generator, Value value) => Write(generator, value, "rcp.approx.ftz.f32");

    private static void Write(PTXCodeGenerator generator, Value value, string instruction)
    {
        var argument = generator.LoadPrimitive(value[0]);
        var target = generator.AllocateHardware(value);
        using var command = generator.BeginCommand(instruction);
        command.AppendArgument(target);
        command.AppendArgument(argument);
    }
}
