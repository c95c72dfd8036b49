using StableDiffusion.Ilgpu.Compilation;

namespace StableDiffusion.Ilgpu;

/// <summary>
/// A loaded model on a device: text encoder, UNet and autoencoder. One generation at a time; not thread-safe.
/// </summary>
public sealed class StableDiffusionPipeline : IDisposable
{
    private StableDiffusionPipeline(ComputeDevice device) => Device = device;

    /// <summary>The device that everything runs on.</summary>
    public ComputeDevice Device { get; }

    /// <summary>The model's name, as pictures' metadata carry it.</summary>
    public string ModelName { get; private set; } = "";

    /// <summary>Width and height in pixels that the model was trained for.</summary>
    public int NativeSize { get; private set; }

    /// <summary>Loads a model.</summary>
    /// <param name="model">A folder in diffusers' layout, <c>synthetic:sd15</c>, or null for the bundled demo model.</param>
    /// <param name="device">Where to run; null for the default device.</param>
    /// <param name="cancellationToken">Stops the loading.</param>
    /// <exception cref="StableDiffusionException">The model is missing, damaged or of a kind that is not supported.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public static StableDiffusionPipeline Load(
        string? model = null, ComputeDevice? device = null, CancellationToken cancellationToken = default) =>
        new(device ?? ComputeDevice.Default);

    /// <summary>Makes the pictures of a request, one after the other.</summary>
    /// <exception cref="StableDiffusionException">A value of the request cannot be used; nothing was computed.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; generation stops within one step.</exception>
    public IReadOnlyList<GeneratedImage> Generate(
        GenerationRequest request, IProgress<GenerationProgress>? progress = null, CancellationToken cancellationToken = default) =>
        throw new StableDiffusionException($"{Device}: generation is being built");

    /// <summary>Where the time went so far.</summary>
    internal GenerationTimings Timings { get; } = new();

    /// <summary>The parts of a model, read from its configuration and file headers; no device is touched.</summary>
    /// <exception cref="StableDiffusionException">The model is missing, damaged or of a kind that is not supported.</exception>
    internal static IReadOnlyList<ComponentInfo> Inspect(string? model) =>
        throw new StableDiffusionException($"{model}: inspection is being built");

    /// <summary>The launches of a generation of this size.</summary>
    internal IReadOnlyList<PlanRow> Plan(int width, int height, bool timed) =>
        throw new StableDiffusionException($"{Device}: planning is being built");

    /// <summary>Frees the device's memory.</summary>
    public void Dispose()
    {
    }
}
