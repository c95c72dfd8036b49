namespace StableDiffusion.Ilgpu;

/// <summary>
/// Encoded prompts of a run. Each is the negative prompt's vectors and the prompt's or, without guidance, the prompt's alone: items of
/// (tokens, width). All have one length.
/// </summary>
/// <param name="Distinct">The different ones.</param>
/// <param name="OfStep">For each step that the run takes, from its first one on, which one it takes; later steps take the last one.</param>
internal sealed record StepContexts(IReadOnlyList<float[]> Distinct, IReadOnlyList<int> OfStep)
{
    /// <summary>The same at every step.</summary>
    public StepContexts(float[] context) : this([context], [0])
    {
    }

    /// <summary>Places of the encoded prompts.</summary>
    /// <param name="halves">2 with guidance, 1 without.</param>
    /// <param name="width">Of a vector.</param>
    public int Tokens(int halves, int width) => Distinct[0].Length / halves / width;

    /// <param name="step">Counting from 0.</param>
    public float[] At(int step) => Distinct[OfStep[Math.Min(step, OfStep.Count - 1)]];
}
