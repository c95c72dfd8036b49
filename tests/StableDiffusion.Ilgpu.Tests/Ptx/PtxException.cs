namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>What the interpreter found wrong in PTX, or cannot interpret.</summary>
internal sealed class PtxException(string message) : Exception(message);
