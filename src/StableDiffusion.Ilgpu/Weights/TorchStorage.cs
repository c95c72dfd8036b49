namespace StableDiffusion.Ilgpu.Weights;

/// <summary>The memory that tensors of a PyTorch file share: elements of one type, one behind the other.</summary>
/// <param name="Key">Its name in the file, usually a number.</param>
/// <param name="Type">The elements' type.</param>
/// <param name="Count">Number of elements.</param>
/// <param name="Offset">Where it starts, in bytes from the start of the file.</param>
internal sealed record TorchStorage(string Key, TensorType Type, long Count, long Offset);
