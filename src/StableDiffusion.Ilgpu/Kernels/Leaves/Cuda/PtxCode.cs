using System.Reflection;
using ILGPU;
using ILGPU.Frontend;
using ILGPU.Frontend.Intrinsic;
using ILGPU.IR.Values;
using ILGPU.Runtime.Cuda;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>
/// How PTX that is written at run time gets into a kernel. ILGPU's <see cref="CudaAsm"/> takes literal texts only; a remapping, which sees the
/// call before ILGPU does, puts a text in the place of a placeholder's first argument. Remappings are global, so they are made by module
/// initialisers, before any kernel is compiled.
/// </summary>
internal static class PtxCode
{
    /// <summary>
    /// The address of an element: of global memory, or an offset in shared memory, of which the lower 32 bits count.
    /// Not a pointer: nothing keeps the memory alive.
    /// </summary>
    public static ulong AddressOf<T>(ref T element) where T : unmanaged => throw new NotSupportedException();

    /// <summary>Lets kernels take the address of elements of a type.</summary>
    public static void AllowAddressOf<T>() where T : unmanaged
    {
        var identity = typeof(PtxCode).GetMethod(nameof(Identity), BindingFlags.Static | BindingFlags.NonPublic)!;
        var method = typeof(PtxCode).GetMethod(nameof(AddressOf))!.MakeGenericMethod(typeof(T));
        RemappedIntrinsics.AddRemapping(method, (ref InvocationContext context) =>
        {
            context.Arguments[0] = context.Builder.CreatePointerAsIntCast(context.Location, context.Arguments[0], BasicValueType.Int64);
            context.Method = identity;
        });
    }

    /// <summary>Puts PTX in the place of the calls of a method.</summary>
    /// <param name="placeholder">
    /// A static method without result. Its first argument, an int, gives way to the text; the others, at most nine numbers, are the text's
    /// <c>%0</c>, <c>%1</c> … in order. A percent sign of PTX itself is written twice.
    /// </param>
    /// <param name="text">
    /// Writes the PTX, when a kernel is compiled that needs it. Registers declared outside of braces are seen by the kernel's later texts as well.
    /// </param>
    public static void Bind(MethodInfo placeholder, Func<string> text)
    {
        Type[] types = [.. placeholder.GetParameters().Skip(1).Select(p => p.ParameterType)];
        var emit = typeof(CudaAsm).GetMethods()
            .First(m => m.Name == nameof(CudaAsm.Emit) && m.GetGenericArguments().Length == types.Length && !(types.Length > 0 && m.GetParameters()[1].IsOut));
        if (types.Length > 0)
        {
            emit = emit.MakeGenericMethod(types);
        }

        RemappedIntrinsics.AddRemapping(placeholder, (ref InvocationContext context) =>
        {
            context.Arguments[0] = context.Builder.CreatePrimitiveValue(context.Location, text());
            context.Method = emit;
        });
    }

    private static ulong Identity(ulong address) => address;
}
