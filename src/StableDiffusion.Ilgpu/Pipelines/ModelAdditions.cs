namespace StableDiffusion.Ilgpu;

/// <summary>A file as pictures' metadata name it.</summary>
/// <param name="Name">Its name.</param>
/// <param name="ShortHash">The first digits of its hash; made when they are asked for.</param>
internal sealed record NamedFile(string Name, Lazy<string> ShortHash);

/// <summary>What a model was loaded with beside its own files, as far as pictures' metadata tell it.</summary>
internal sealed record ModelAdditions
{
    /// <summary>Names of the LoRAs, without extension.</summary>
    public IReadOnlyList<string> Loras { get; init; } = [];

    /// <summary>Names of the textual inversions, without extension.</summary>
    public IReadOnlyList<string> Embeddings { get; init; } = [];

    /// <summary>An autoencoder in place of the model's own, with extension; null for the model's own.</summary>
    public NamedFile? Vae { get; init; }

    /// <summary>Whether a TAESD takes the autoencoder's place.</summary>
    public bool HasTaesd { get; init; }
}
