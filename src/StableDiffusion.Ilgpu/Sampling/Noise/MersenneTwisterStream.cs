using System.Runtime.CompilerServices;

namespace StableDiffusion.Ilgpu.Sampling.Noise;

/// <summary>torch.randn on the CPU: mt19937 (Matsumoto and Nishimura 1998) under the seed's low 32 bits, and Box and Muller's transform.</summary>
internal sealed class MersenneTwisterStream : NormalStream
{
    private const int StateSize = 624;
    private const int Shift = 397;

    /// <summary>Tensors of this size and more are transformed in blocks of it, smaller ones number by number.</summary>
    private const int Block = 16;

    private readonly uint[] state = new uint[StateSize];
    private int position = StateSize;
    private double? second;

    public MersenneTwisterStream(long seed)
    {
        state[0] = (uint)seed;
        for (var i = 1; i < StateSize; i++)
        {
            state[i] = (1812433253 * (state[i - 1] ^ (state[i - 1] >> 30))) + (uint)i;
        }
    }

    public override void Fill(Span<float> destination)
    {
        if (destination.Length < Block)
        {
            foreach (ref var value in destination)
            {
                value = (float)NextNormal();
            }

            return;
        }

        FillUniform(destination);
        for (var first = 0; first + Block <= destination.Length; first += Block)
        {
            Transform(destination.Slice(first, Block));
        }

        if (destination.Length % Block != 0)
        {
            // The last block overlaps the one before it, so its numbers are drawn anew.
            var last = destination[^Block..];
            FillUniform(last);
            Transform(last);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void FillUniform(Span<float> destination)
    {
        foreach (ref var value in destination)
        {
            value = (Next() & 0xFFFFFF) * (1f / (1 << 24));
        }
    }

    /// <summary>Uniform numbers to normal ones, in place: the first half gives the radii, the second the angles.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Transform(Span<float> block)
    {
        for (var i = 0; i < Block / 2; i++)
        {
            var radius = Math.Sqrt(-2 * Math.Log(1 - (double)block[i]));
            var (sin, cos) = Math.SinCos(2 * Math.PI * block[i + (Block / 2)]);
            block[i] = (float)(radius * cos);
            block[i + (Block / 2)] = (float)(radius * sin);
        }
    }

    /// <summary>One of a pair; the other is kept for the next time, also across calls.</summary>
    private double NextNormal()
    {
        if (second is { } kept)
        {
            second = null;
            return kept;
        }

        var angle = 2 * Math.PI * NextUniform();
        var radius = Math.Sqrt(-2 * Math.Log(1 - NextUniform()));
        var (sin, cos) = Math.SinCos(angle);
        second = radius * sin;
        return radius * cos;
    }

    /// <summary>53 random bits in [0, 1).</summary>
    private double NextUniform()
    {
        var high = (ulong)Next() << 32;
        return ((high | Next()) & ((1UL << 53) - 1)) * (1.0 / (1UL << 53));
    }

    private uint Next()
    {
        if (position == StateSize)
        {
            Twist();
            position = 0;
        }

        var y = state[position++];
        y ^= y >> 11;
        y ^= (y << 7) & 0x9D2C5680;
        y ^= (y << 15) & 0xEFC60000;
        return y ^ (y >> 18);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Twist()
    {
        for (var i = 0; i < StateSize; i++)
        {
            var y = (state[i] & 0x80000000) | (state[(i + 1) % StateSize] & 0x7FFFFFFF);
            state[i] = state[(i + Shift) % StateSize] ^ (y >> 1) ^ ((y & 1) * 0x9908B0DF);
        }
    }
}
