namespace StableDiffusion.Ilgpu.Text;

/// <summary>What a text encoder takes at once: start, up to 75 tokens, end and padding, with a weight for each place.</summary>
internal sealed record PromptChunk(int[] Ids, double[] TokenWeights)
{
    private bool IsPlain => TokenWeights.All(w => w == 1);

    /// <summary>Multiplies the chunk's encoded vectors by their weights.</summary>
    /// <param name="vectors">(places, width).</param>
    /// <param name="scale">What all of them are multiplied with besides.</param>
    public float[] Weigh(float[] vectors, double scale) =>
        IsPlain && scale == 1 ? vectors : [.. Weighted(vectors).Select(v => (float)(v * scale))];

    /// <summary>
    /// The scale that gives the weighted vectors of some chunks together, each counted so many times, the mean that they had before; 1 where
    /// all are plain text.
    /// </summary>
    public static double KeepMean(IReadOnlyList<(PromptChunk Chunk, float[] Vectors, int Count)> chunks)
    {
        if (chunks.All(c => c.Chunk.IsPlain))
        {
            return 1;
        }

        var scale = chunks.Sum(c => c.Count * c.Vectors.Sum(v => (double)v)) / chunks.Sum(c => c.Count * c.Chunk.Weighted(c.Vectors).Sum());
        return double.IsFinite(scale) ? scale : 1;
    }

    private IEnumerable<double> Weighted(float[] vectors)
    {
        var width = vectors.Length / TokenWeights.Length;
        return vectors.Select((v, i) => v * TokenWeights[i / width]);
    }
}
