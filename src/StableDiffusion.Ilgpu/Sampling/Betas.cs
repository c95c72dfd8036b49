namespace StableDiffusion.Ilgpu.Sampling;

/// <summary>
/// The variances β that a model was trained with, and what is made of them. They are computed in fp32, in the order in which diffusers'
/// tensors are: sums of a thousand logarithms of 1 - β show the rounding, and a Karras timestep near one half would round to another integer.
/// </summary>
internal static class Betas
{
    public static float[] Linear(double start, double end, int count) => Linspace((float)start, (float)end, count);

    /// <summary>The squares of an even spacing of the square roots.</summary>
    public static float[] ScaledLinear(double start, double end, int count) =>
        [.. Linspace((float)Math.Sqrt(start), (float)Math.Sqrt(end), count).Select(root => root * root)];

    /// <summary>The cosine schedule of Nichol and Dhariwal 2021 (arXiv:2102.09672), capped at 0.999.</summary>
    public static float[] SquaredCosine(int count)
    {
        double AlphaBar(int i) => Math.Pow(Math.Cos((((double)i / count) + 0.008) / 1.008 * Math.PI / 2), 2);
        return [.. Enumerable.Range(0, count).Select(i => (float)Math.Min(1 - (AlphaBar(i + 1) / AlphaBar(i)), 0.999))];
    }

    /// <summary>The products ᾱ of 1 - β up to each training step.</summary>
    public static double[] AlphasCumprod(float[] betas)
    {
        var alphas = new double[betas.Length];
        var product = 1.0;
        for (var i = 0; i < alphas.Length; i++)
        {
            product *= 1 - betas[i];
            alphas[i] = (float)product;
        }

        return alphas;
    }

    /// <summary>Shifts and scales √ᾱ so that the last is 0 and the first stays (Lin et al. 2023, arXiv:2305.08891, algorithm 1).</summary>
    public static double[] RescaleToZeroTerminalSnr(double[] alphasCumprod)
    {
        var first = Math.Sqrt(alphasCumprod[0]);
        var last = Math.Sqrt(alphasCumprod[^1]);
        return [.. alphasCumprod.Select(a => Math.Pow((Math.Sqrt(a) - last) * first / (first - last), 2))];
    }

    /// <summary>torch.linspace in fp32: counted from the nearer end, in vectors of eight with fused multiply-adds.</summary>
    private static float[] Linspace(float start, float end, int count)
    {
        const int Lanes = 8;
        var step = (end - start) / Math.Max(1, count - 1);
        var values = new float[count];
        for (var i = 0; i < count; i++)
        {
            var vector = i / Lanes * Lanes;
            var first = vector < count / 2
                ? MathF.FusedMultiplyAdd(step, vector, start)
                : MathF.FusedMultiplyAdd(-step, count - 1 - vector, end);
            values[i] = MathF.FusedMultiplyAdd(step, i - vector, first);
        }

        return values;
    }
}
