namespace StableDiffusion.Ilgpu;

/// <summary>One part of a model, for people to read.</summary>
/// <param name="Name">Its place in the model, for example <c>unet</c>.</param>
/// <param name="Class">The class that the model names, for example <c>UNet2DConditionModel</c>.</param>
/// <param name="Summary">Its sizes in a few words.</param>
/// <param name="Tensors">Number of weight tensors.</param>
/// <param name="Parameters">Number of weights in them.</param>
/// <param name="StoredAs">The weights' type in the file, for example <c>F16</c>; empty where there are none.</param>
internal sealed record ComponentInfo(string Name, string Class, string Summary, int Tensors, long Parameters, string StoredAs);
