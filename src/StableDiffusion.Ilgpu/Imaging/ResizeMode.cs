namespace StableDiffusion.Ilgpu;

/// <summary>How a picture becomes one of another size.</summary>
public enum ResizeMode
{
    /// <summary>Scaled in each direction by itself; proportions change.</summary>
    Stretch,

    /// <summary>What is too much at two opposite sides is cut off, the rest scaled.</summary>
    Crop,

    /// <summary>Scaled to fit; what is missing at two opposite sides repeats the pixels of the edge.</summary>
    Pad,
}
