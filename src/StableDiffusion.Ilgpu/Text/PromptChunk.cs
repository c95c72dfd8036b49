namespace StableDiffusion.Ilgpu.Text;

/// <summary>What a text encoder takes at once: start, up to 75 tokens, end and padding, with a weight for each place.</summary>
internal sealed record PromptChunk(int[] Ids, double[] TokenWeights)
{
    /// <summary>Multiplies the chunk's encoded vectors by their weights.</summary>
    /// <param name="vectors">(places, width).</param>
    /// <param name="keepMean">Rescale them all so that the mean over all elements is what it was.</param>
    public float[] Weigh(float[] vectors, bool keepMean)
    {
        // Plain text is not touched, not even by a rescaling by 1.
        if (TokenWeights.All(w => w == 1))
        {
            return vectors;
        }

        var width = vectors.Length / TokenWeights.Length;
        var weighted = vectors.Select((v, i) => v * TokenWeights[i / width]).ToArray();
        var scale = keepMean ? vectors.Sum(v => (double)v) / weighted.Sum() : 1;
        scale = double.IsFinite(scale) ? scale : 1;
        return [.. weighted.Select(v => (float)(v * scale))];
    }
}
