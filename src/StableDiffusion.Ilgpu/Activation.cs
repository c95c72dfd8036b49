namespace StableDiffusion.Ilgpu;

/// <summary>Functions of one value that graphs name and kernels compute, which is why they belong to no layer.</summary>
internal enum Activation { None, Silu, Gelu, QuickGelu }
