namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// What a training checkpoint holds beside its tensors and nobody reads: a class that is only named, a NumPy number, a device. It has
/// a name and nothing else; nothing was made or called for it.
/// </summary>
internal record TorchOpaque(string Name);
