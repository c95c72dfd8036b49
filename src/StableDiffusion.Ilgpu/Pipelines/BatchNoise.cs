using StableDiffusion.Ilgpu.Sampling.Noise;

namespace StableDiffusion.Ilgpu;

/// <summary>The noise of a batch: each picture has its own stream, so that its noise is the same in any batch.</summary>
/// <param name="generator">Whose noise.</param>
/// <param name="firstSeed">Seed of the first picture; they count up.</param>
/// <param name="pictures">Number of pictures.</param>
/// <param name="values">Values of one picture's latent.</param>
internal sealed class BatchNoise(NoiseGenerator generator, long firstSeed, int pictures, int values)
{
    private readonly NormalStream[] streams = [.. Enumerable.Range(0, pictures).Select(i => NormalStream.Create(generator, firstSeed + i))];

    /// <summary>Values of one picture's latent.</summary>
    public int Values => values;

    /// <summary>The next draw of every picture, one picture after the other.</summary>
    public float[] Draw()
    {
        var noise = new float[pictures * values];
        for (var i = 0; i < pictures; i++)
        {
            streams[i].Fill(noise.AsSpan(i * values, values));
        }

        return noise;
    }
}
