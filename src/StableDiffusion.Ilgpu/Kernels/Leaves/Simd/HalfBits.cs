using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Simd;

/// <summary>
/// Constants of the conversions between fp16 and fp32 by bit arithmetic. Widening: the 15 bits below the sign, moved up by 13, are
/// the number times 2^-112, subnormals included. Narrowing: adding 0x0FFF plus the last kept bit rounds to nearest even; below the
/// smallest normal number, adding 0.5 lets the fp32 adder do the rounding at fp16's fixed step of 2^-24.
/// </summary>
internal static class HalfBits
{
    /// <summary>Sign and the 28 bits that hold a moved fp16 number, of a sign-extended value shifted by 13.</summary>
    public const int Kept = unchecked((int)0x8FFFE000);

    /// <summary>2^112.</summary>
    public const float Rescale = 5.192296858534828e33f;

    /// <summary>Moves the exponent's bias from 127 to 15 (-112 * 2^23) and adds what rounds the 13 dropped bits.</summary>
    public const uint RoundBias = unchecked((uint)(-112 << 23)) + 0x0FFF;

    /// <summary>2^-14 as fp32 bits.</summary>
    public const int SmallestNormal = 113 << 23;

    /// <summary>0.5 as fp32 bits.</summary>
    public const uint HalfOne = 126u << 23;

    /// <summary>Numbers below 2^16, without the masks that narrowing any number takes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<ushort> Narrow(Vector128<uint> lower, Vector128<uint> upper) =>
        Sse41.IsSupported ? Sse41.PackUnsignedSaturate(lower.AsInt32(), upper.AsInt32()) : Vector128.Narrow(lower, upper);
}
