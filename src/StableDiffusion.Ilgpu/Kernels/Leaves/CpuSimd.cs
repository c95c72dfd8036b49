using System.Reflection;
using System.Runtime.CompilerServices;
using ILGPU;
using ILGPU.Frontend;
using ILGPU.Frontend.Intrinsic;
using StableDiffusion.Ilgpu.Kernels.Leaves.Simd;

namespace StableDiffusion.Ilgpu.Kernels.Leaves;

/// <summary>
/// SIMD leaves for ILGPU's CPU accelerator, which runs the .NET method itself. ILGPU's front end cannot read vector code, and
/// need not: what it makes of a kernel is not what this accelerator runs. It is shown calls of nothing instead (a remapping, registered before any
/// kernel is compiled).
/// </summary>
internal static class CpuSimd<V> where V : struct, ISimd<V>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Clear(ArrayView<float> target, int offset, int pitch, int rows, int count)
    {
        if (rows > 0)
        {
            SimdRows<V, float, SimdFloatFormat>.Clear(ref target[offset], pitch, rows, count);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Multiply(
        ArrayView<float> a, int aOffset, int aPitch, ArrayView<float> b, int bOffset, int bPitch, ArrayView<float> c, int cOffset, int cPitch,
        int rows, int depth, int accumulate)
    {
        SimdMultiply<V>.Rows(ref a[aOffset], aPitch, ref b[bOffset], bPitch, ref c[cOffset], cPitch, rows, depth, accumulate != 0);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void MultiplyTransposed(
        ArrayView<float> a, int aOffset, int aPitch, ArrayView<float> b, int bOffset, ArrayView<float> c, int cOffset, int rows, int depth)
    {
        SimdMultiply<V>.Columns(ref a[aOffset], aPitch, ref b[bOffset], ref c[cOffset], rows, depth);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Softmax(
        ArrayView<float> scores, int scoresOffset, int keys, ArrayView<float> state, int stateOffset, ArrayView<float> output, int outputOffset, int depth,
        int lastKey)
    {
        SimdSoftmax<V>.Block(ref scores[scoresOffset], keys, ref state[stateOffset], ref output[outputOffset], depth, lastKey);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void DivideBySum(ArrayView<float> state, int stateOffset, ArrayView<float> output, int outputOffset, int depth)
    {
        SimdSoftmax<V>.DivideBySum(ref state[stateOffset + Tile.Columns], ref output[outputOffset], depth);
    }
}

/// <summary>The registration of all widths.</summary>
internal static class CpuSimd
{
#pragma warning disable CA2255 // A remapping is global and must be there before the first kernel of any context is compiled.
    [ModuleInitializer]
#pragma warning restore CA2255
    internal static void HideFromFrontEnd()
    {
        Hide<Simd512>();
        Hide<Simd256>();
        Hide<Simd128>();
    }

    private static void Hide<V>() where V : struct, ISimd<V>
    {
        Hide(typeof(CpuSimd<V>));
        Hide(typeof(CpuSimdRows<ushort, HalfFormat, SimdHalfFormat, V>));
        Hide(typeof(CpuSimdWinograd<ushort, HalfFormat, SimdHalfFormat, V>));
        Hide(typeof(CpuSimdWinograd<float, FloatFormat, SimdFloatFormat, V>));
        Hide(typeof(CpuSimdRows<float, FloatFormat, SimdFloatFormat, V>));
    }

    /// <summary>Shows the front end a method that does nothing in the place of each of the type's, which have no results.</summary>
    private static void Hide(Type simd)
    {
        foreach (var hidden in simd.GetMethods(BindingFlags.Public | BindingFlags.Static | BindingFlags.DeclaredOnly))
        {
            RemappedIntrinsics.AddRemapping(hidden, CallNothing);
        }
    }

    private static void CallNothing(ref InvocationContext context)
    {
        context.Arguments.Clear();
        context.Method = ((Action)Nothing).Method;
    }

    private static void Nothing()
    {
    }
}
