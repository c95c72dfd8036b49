namespace StableDiffusion.Ilgpu;

/// <summary>What a model's output means.</summary>
public enum PredictionType
{
    /// <summary>The noise ε.</summary>
    Epsilon,

    /// <summary>v = √ᾱ ε - √(1 - ᾱ) x0.</summary>
    V,
}
