using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Simd;

/// <summary>Asks for a cache line before it is needed. No address is wrong: what cannot be read is not fetched.</summary>
internal static unsafe class Prefetch
{
    /// <summary>Floats of a cache line.</summary>
    public const int Line = 16;

    /// <summary>The line that <paramref name="value"/> lies in, into the first-level cache; nothing on processors without such an instruction.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Near(ref float value)
    {
        if (Sse.IsSupported)
        {
            Sse.Prefetch0(Unsafe.AsPointer(ref value));
        }
    }
}
