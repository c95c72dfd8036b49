using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Kernels.Pointwise;

namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>Channels that a model reads after those of the latent, the same in every step.</summary>
internal sealed class LatentConditions<T> : IDisposable where T : unmanaged
{
    private readonly DeviceSession device;
    private readonly KernelSet<T> kernels;
    private readonly Workspace<T> workspace;
    private readonly DeviceBuffer<float> buffer;
    private readonly int firstChannel;

    /// <param name="device">Where they lie.</param>
    /// <param name="kernels">Write them.</param>
    /// <param name="workspace">Holds the model's input.</param>
    /// <param name="values">Of all pictures, channels last.</param>
    /// <param name="firstChannel">Channels of the latent before them.</param>
    public LatentConditions(DeviceSession device, KernelSet<T> kernels, Workspace<T> workspace, ReadOnlySpan<float> values, int firstChannel)
    {
        (this.device, this.kernels, this.workspace, this.firstChannel) = (device, kernels, workspace, firstChannel);
        buffer = device.Upload(values);
    }

    /// <summary>Writes them beside the latents, <paramref name="copies"/> times: other values of a step may have taken their place.</summary>
    public void WriteTo(CompiledGraph<T> graph, string input, int copies)
    {
        var arguments = new ConversionArguments<T>
        {
            Arena = workspace.Arena,
            Latent = buffer.View,
            Offset = graph.OffsetOf(input) + firstChannel,
            Count = (int)buffer.Length,
            Channels = graph.InputChannels(input) - firstChannel,
            Pitch = graph.InputChannels(input),
            Copies = copies,
            Scale = 1,
        };
        kernels.Scale(device.Stream, arguments, workspace.Scratch, workspace.FreshCounter(device.Stream));
    }

    public void Dispose() => buffer.Dispose();
}
