using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Kernels;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>The bundled model on a device of its own, with noise in every step.</summary>
/// <param name="device">Closed with it.</param>
/// <param name="kernels">The device's.</param>
/// <param name="offload">Models take turns.</param>
/// <param name="shortStep">Steps that are asked for ahead take less; null for the engine's own.</param>
internal sealed class DemoRun(DeviceSession device, KernelSet<ushort> kernels, bool offload = false, TimeSpan? shortStep = null) : IDisposable
{
    private readonly LoadedModel model = LoadedModel.Open(model: null);
    private DiffusionEngine<ushort>? engine;
    private float[]? context;

    public DiffusionEngine<ushort> Engine => engine ??= shortStep is { } time
        ? new(model, device, kernels, FusionOptions.All, offload) { ShortStep = time } : new(model, device, kernels, FusionOptions.All, offload);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <param name="size">Of the latents.</param>
    /// <param name="steps">Of the sampler.</param>
    /// <param name="afterStep">Is told how many are done.</param>
    /// <param name="stop">Stops them.</param>
    /// <returns>The latents of a red apple.</returns>
    public float[] Sample(int size, int steps, Action<int>? afterStep = null, CancellationToken? stop = null)
    {
        // Once: the text encoder's launches may be recorded too.
        context ??= Engine.Encode([.. model.Tokenize(""), .. model.Tokenize("a red apple")], cancellationToken: Cancellation);
        return Engine.Sample(
            new SamplingRun
            {
                Context = new StepContexts(context),
                Guidance = 3,
                Height = size,
                Width = size,
                Plan = Samplers.EulerAncestral.Plan(model.Schedule, steps, Scheduler.Discrete),
                Draw = new BatchNoise(NoiseGenerator.Cuda, 42, 1, model.VaeConfig.LatentChannels * size * size).Draw,
                AfterStep = afterStep,
            },
            stop ?? Cancellation);
    }

    public void Dispose()
    {
        engine?.Dispose();
        device.Dispose();
        model.Dispose();
    }
}
