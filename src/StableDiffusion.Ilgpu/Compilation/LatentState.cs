using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Kernels.Pointwise;
using StableDiffusion.Ilgpu.Sampling;

namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>The latents of one or more pictures, in fp32 on the device, with what their sampler remembers. Channels last.</summary>
internal sealed class LatentState<T> : IDisposable where T : unmanaged
{
    private readonly DeviceSession device;
    private readonly KernelSet<T> kernels;
    private readonly Workspace<T> workspace;

    /// <summary>The latents, the saved ones, the noise and the history, one behind the other: every allocation costs a driver some time.</summary>
    private readonly DeviceBuffer<float> buffer;
    private readonly int count;
    private readonly int channels;

    private int draws;
    private int remembered;

    public LatentState(DeviceSession device, KernelSet<T> kernels, Workspace<T> workspace, ReadOnlySpan<float> values, int channels)
    {
        (this.device, this.kernels, this.workspace, this.channels) = (device, kernels, workspace, channels);
        count = values.Length;

        // First, so that nothing is left behind if memory runs out here.
        workspace.Reserve(new(Launches: 1));
        buffer = device.Upload(values, room: (2L + SamplingStep.MaxHistory) * count);
    }

    /// <summary>The latents, for kernels that change them between steps.</summary>
    public ArrayView<float> View => buffer.View.SubView(0, count);

    private ArrayView<float> Saved => buffer.View.SubView(count, count);

    private ArrayView<float> Noise => buffer.View.SubView(2L * count, count);

    private ArrayView<float> History => buffer.View.SubView(3L * count, (long)SamplingStep.MaxHistory * count);

    /// <summary>Writes the latents times a factor into a graph's input, <paramref name="copies"/> times one after the other.</summary>
    public void WriteTo(CompiledGraph<T> graph, string input, int copies, double factor)
    {
        var arguments = new ConversionArguments<T>
        {
            Arena = workspace.Arena,
            Latent = View,
            Offset = graph.OffsetOf(input),
            Count = count,
            Channels = channels,
            Pitch = graph.InputChannels(input),
            Copies = copies,
            Scale = (float)factor,
        };
        kernels.Scale(device.Stream, arguments, workspace.Scratch, workspace.FreshCounter(device.Stream));
    }

    /// <summary>Takes a sampler's step with the model's output. When it is called the device must be done with the step before the last one.</summary>
    /// <param name="graph">The model, which has just run.</param>
    /// <param name="output">Its output: all pictures without the prompt, then all with it, or the latter alone.</param>
    /// <param name="guidance">Guidance scale; null where there is one item a picture.</param>
    /// <param name="step">The coefficients.</param>
    /// <param name="fresh">Standard normal noise, channels last; empty where the step draws none.</param>
    public void Update(CompiledGraph<T> graph, string output, double? guidance, SamplingStep step, ReadOnlySpan<float> fresh)
    {
        if (!fresh.IsEmpty)
        {
            // From other memory a copy waits for the model. The last step's noise may still be under way.
            var staging = workspace.Staging(draws++, count);
            fresh.CopyTo(staging.Span);
            staging.CopyTo(device.Stream, Noise);
        }

        var factors = step.History.Concat(Enumerable.Repeat(0.0, SamplingStep.MaxTerms)).Select(f => (float)f).ToArray();
        kernels.LatentUpdate(
            device.Stream,
            new LatentUpdateArguments<T>
            {
                Arena = workspace.Arena,
                Latent = View,
                Saved = Saved,
                Noise = Noise,
                History = History,
                Output = graph.OffsetOf(output),
                Count = count,
                Guided = guidance is null ? 0 : 1,
                Guidance = (float)(guidance ?? 1),
                DerivedFromLatent = (float)step.DerivedFromLatent,
                DerivedFromModel = (float)step.DerivedFromModel,
                Save = step.Save ? 1 : 0,
                LatentFactor = (float)step.Latent,
                SavedFactor = (float)step.Saved,
                NoiseFactor = fresh.IsEmpty ? 0 : (float)step.Noise,
                History0 = factors[0],
                History1 = factors[1],
                History2 = factors[2],
                History3 = factors[3],
                Slot0 = Slot(0),
                Slot1 = Slot(1),
                Slot2 = Slot(2),
                Slot3 = Slot(3),
            },
            workspace.Scratch, workspace.FreshCounter(device.Stream));
        remembered += (step.Keep ? 1 : 0) - step.Forget;

        // Slots form a ring: entry i of the history lies i slots before the one that this step writes.
        int Slot(int age) => (remembered + SamplingStep.MaxHistory - age) % SamplingStep.MaxHistory;
    }

    /// <summary>The latents' values, channels last.</summary>
    public float[] Read()
    {
        var values = new float[count];
        View.CopyToCPU(device.Stream, values);
        device.Stream.Synchronize();
        return values;
    }

    public void Dispose() => buffer.Dispose();
}
