using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>Conversion, on the host, between fp32 and what the arena holds: fp16 bit patterns (ushort) or fp32.</summary>
internal static class Stored
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Narrow<T>(ReadOnlySpan<float> source, Span<T> target) where T : unmanaged
    {
        if (typeof(T) == typeof(float))
        {
            source.CopyTo(MemoryMarshal.Cast<T, float>(target));
            return;
        }

        var bits = MemoryMarshal.Cast<T, ushort>(target);
        for (var i = 0; i < source.Length; i++)
        {
            bits[i] = BitConverter.HalfToUInt16Bits((Half)source[i]);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Widen<T>(ReadOnlySpan<T> source, Span<float> target) where T : unmanaged
    {
        if (typeof(T) == typeof(float))
        {
            MemoryMarshal.Cast<T, float>(source).CopyTo(target);
            return;
        }

        var bits = MemoryMarshal.Cast<T, ushort>(source);
        for (var i = 0; i < bits.Length; i++)
        {
            target[i] = (float)BitConverter.UInt16BitsToHalf(bits[i]);
        }
    }
}
