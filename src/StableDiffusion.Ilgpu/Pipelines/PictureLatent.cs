namespace StableDiffusion.Ilgpu;

/// <summary>What an autoencoder makes of a picture: a normal distribution of latents, or one latent.</summary>
/// <param name="moments">The mean and the logarithm of the variance, or, of a TAESD, the latent alone; channels first.</param>
/// <param name="count">Values of a latent.</param>
/// <param name="scale">What latents are multiplied with to have about unit variance.</param>
internal sealed class PictureLatent(float[] moments, int count, double scale)
{
    // Beyond these the variance is no number of use; diffusers clamps alike.
    private const float SmallestLog = -30, LargestLog = 20;

    /// <summary>The mean and the logarithm of the variance, as the encoder gives it, or the latent alone.</summary>
    public ReadOnlySpan<float> Moments => moments;

    /// <summary>Whether there is a distribution to draw from.</summary>
    public bool HasVariance => moments.Length > count;

    public ReadOnlySpan<float> Mean => moments.AsSpan(0, count);

    /// <summary>Logarithm of the variance, clamped.</summary>
    public float[] LogVariance => [.. moments.Skip(count).Select(v => Math.Clamp(v, SmallestLog, LargestLog))];

    /// <summary>The scaled latent: mean + noise * standard deviation, or the mean where there is no noise or no variance.</summary>
    public float[] Sample(ReadOnlySpan<float> noise)
    {
        var latent = new float[count];
        for (var i = 0; i < count; i++)
        {
            var deviation = noise.IsEmpty || !HasVariance ? 0 : Math.Exp(0.5 * Math.Clamp(moments[count + i], SmallestLog, LargestLog)) * noise[i];
            latent[i] = (float)((moments[i] + deviation) * scale);
        }

        return latent;
    }
}
