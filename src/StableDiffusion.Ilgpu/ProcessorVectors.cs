using System.Runtime.Intrinsics;

namespace StableDiffusion.Ilgpu;

/// <summary>The processor's vector registers.</summary>
internal static class ProcessorVectors
{
    /// <summary>Bits of the widest registers that the machine has and the runtime is allowed to use. Results on the processor depend on it in their last bits.</summary>
    public static int Bits => Vector512.IsHardwareAccelerated ? 512 : Vector256.IsHardwareAccelerated ? 256 : 128;
}
