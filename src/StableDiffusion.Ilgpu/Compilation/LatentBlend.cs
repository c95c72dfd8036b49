using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Kernels.Pointwise;
using StableDiffusion.Ilgpu.Sampling;

namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>The known part of latents, on the device: put back after each step. Channels last.</summary>
internal sealed class LatentBlend<T> : IDisposable where T : unmanaged
{
    private readonly DeviceSession device;
    private readonly KernelSet<T> kernels;
    private readonly Workspace<T> workspace;

    /// <summary>The known latents, the noise and the mask, one behind the other.</summary>
    private readonly DeviceBuffer<float> buffer;
    private readonly int count;
    private readonly int pixels;

    /// <param name="device">Where it lies.</param>
    /// <param name="kernels">Mix it in.</param>
    /// <param name="workspace">Of the kernels.</param>
    /// <param name="known">The latents without noise.</param>
    /// <param name="noise">The noise that they are under.</param>
    /// <param name="mask">One value for each pixel of a latent: 0 where it is known.</param>
    public LatentBlend(
        DeviceSession device, KernelSet<T> kernels, Workspace<T> workspace, ReadOnlySpan<float> known, ReadOnlySpan<float> noise, ReadOnlySpan<float> mask)
    {
        (this.device, this.kernels, this.workspace, count, pixels) = (device, kernels, workspace, known.Length, mask.Length);
        buffer = device.Upload<float>([.. known, .. noise, .. mask]);
    }

    /// <summary>Puts the known part back, under the noise of the step that follows.</summary>
    public void Apply(LatentState<T> latent, int channels, NoiseMix mix) => kernels.LatentBlend(
        device.Stream,
        new LatentBlendArguments
        {
            Latent = latent.View,
            Known = buffer.View.SubView(0, count),
            Noise = buffer.View.SubView(count, count),
            Mask = buffer.View.SubView(2L * count, pixels),
            Count = count,
            Channels = channels,
            Pixels = pixels,
            Signal = (float)mix.Signal,
            NoiseFactor = (float)mix.Noise,
        },
        workspace.Scratch, workspace.FreshCounter(device.Stream));

    public void Dispose() => buffer.Dispose();
}
