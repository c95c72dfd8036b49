namespace StableDiffusion.Ilgpu;

/// <summary>
/// Functions of one value that graphs name and kernels compute, which is why they belong to no layer.
/// <see cref="SoftClamp"/> is 3 tanh(x / 3).
/// </summary>
internal enum Activation { None, Silu, Gelu, QuickGelu, Relu, SoftClamp }
