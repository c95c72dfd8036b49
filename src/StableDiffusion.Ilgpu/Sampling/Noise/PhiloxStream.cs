using System.Runtime.CompilerServices;

namespace StableDiffusion.Ilgpu.Sampling.Noise;

/// <summary>
/// Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") as torch.randn uses it on a CUDA device,
/// in the form that tools without CUDA have agreed on: the counter holds the number of the call and the element's index.
/// </summary>
internal sealed class PhiloxStream(long seed) : NormalStream
{
    private const int Rounds = 10;

    private uint call;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void Fill(Span<float> destination)
    {
        const double Unit = 1.0 / (1L << 32);
        for (var i = 0; i < destination.Length; i++)
        {
            var (x, y) = Draw((uint)i);
            var radius = Math.Sqrt(-2 * Math.Log((x + 0.5) * Unit));
            destination[i] = (float)(radius * Math.Sin(2 * Math.PI * (y + 0.5) * Unit));
        }

        call++;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private (uint X, uint Y) Draw(uint index)
    {
        var (c0, c1, c2, c3) = (call, 0u, index, 0u);
        var (k0, k1) = ((uint)seed, (uint)(seed >> 32));
        for (var round = 0; round < Rounds; round++)
        {
            var a = c0 * 0xD2511F53UL;
            var b = c2 * 0xCD9E8D57UL;
            (c0, c1, c2, c3) = ((uint)(b >> 32) ^ c1 ^ k0, (uint)b, (uint)(a >> 32) ^ c3 ^ k1, (uint)a);
            k0 += 0x9E3779B9;
            k1 += 0xBB67AE85;
        }

        return (c0, c1);
    }
}
