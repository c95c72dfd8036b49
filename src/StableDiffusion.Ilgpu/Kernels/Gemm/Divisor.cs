namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>A number that kernels divide by again and again: a division takes a GPU more than a hundred cycles, this about ten.</summary>
/// <param name="value">From 1 on.</param>
internal readonly struct Divisor(int value)
{
    private readonly int value = value;

    /// <summary>2^32 by the value, rounded down; what 32 bits hold of it.</summary>
    private readonly uint reciprocal = (uint)Math.Min(uint.MaxValue, (1UL << 32) / (uint)value);

    /// <summary>The quotient, rounded down, of a number from 0 on: by the reciprocal it is right or one too small.</summary>
    public int Divide(int number)
    {
        var quotient = (int)(((ulong)(uint)number * reciprocal) >> 32);
        return number - (quotient * value) >= value ? quotient + 1 : quotient;
    }
}
