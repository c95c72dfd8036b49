using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>What a run takes of a picture's distribution of latents.</summary>
public sealed class PictureLatentTests
{
    /// <summary>Logarithms of variances from -30 to 20, as diffusers has it.</summary>
    [Fact]
    public void A_sample_is_the_mean_and_the_noise_times_the_deviation_scaled()
    {
        var latent = new PictureLatent([1, 2, 3, 0, 99, -99], 3, 0.5);
        float[] expected = [(1 + 2) * 0.5f, (float)((2 + (2 * Math.Exp(10))) * 0.5), (float)((3 + (2e6 * Math.Exp(-15))) * 0.5)];
        Assert.Equal(expected, latent.Sample([2, 2, 2e6f]));
        Assert.Equal([0.5f, 1, 1.5f], latent.Sample([]));
        Assert.Equal([0, 20, -30], latent.LogVariance);
        Assert.True(latent.HasVariance);
    }

    [Fact]
    public void A_latent_alone_is_its_own_sample()
    {
        var latent = new PictureLatent([1, 2, 3], 3, 2);
        Assert.False(latent.HasVariance);
        Assert.Equal([2, 4, 6], latent.Sample([9, 9, 9]));
    }
}
