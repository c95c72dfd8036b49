using System.Diagnostics;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Sampling;
using StableDiffusion.Ilgpu.Sampling.Noise;
using StableDiffusion.Ilgpu.Weights;
using StableDiffusion.Ilgpu.Weights.Lora;

namespace StableDiffusion.Ilgpu;

/// <summary>
/// A loaded model on a device: text encoder, UNet and autoencoder. Any thread may use it. One batch of pictures is drawn at a time; other requests
/// wait for it, in no particular order.
/// </summary>
public sealed class StableDiffusionPipeline : IDisposable
{
    private readonly LoadedModel model;
    private readonly DeviceSession session;
    private readonly KernelSet<ushort> kernels;
    private readonly DiffusionEngine<ushort> engine;
    private readonly Turns turns;

    private StableDiffusionPipeline(ComputeDevice device, LoadedModel model, DeviceSession session, KernelSet<ushort> kernels, bool offload)
    {
        (Device, this.model, this.session, this.kernels) = (device, model, session, kernels);
        engine = new DiffusionEngine<ushort>(model, session, kernels, FusionOptions.All, offload);
        turns = new Turns(Free);
    }

    /// <summary>The device that everything runs on.</summary>
    public ComputeDevice Device { get; }

    /// <summary>The model's name, as pictures' metadata carry it.</summary>
    public string ModelName => model.Name;

    /// <summary>Width and height in pixels that the model was trained for.</summary>
    public int NativeSize => model.NativeSize;

    /// <summary>The first digits of the model's hash, as pictures' metadata carry them; null where no single file holds the UNet.</summary>
    internal string? ModelHash => model.ShortHash;

    /// <summary>What became of the LoRA files.</summary>
    internal IReadOnlyList<LoraReport> Loras => model.Loras;

    /// <summary>What the model was loaded with beside its own files.</summary>
    internal ModelAdditions Additions => model.Additions;

    /// <summary>Where the time went so far.</summary>
    internal GenerationTimings Timings { get; } = new();

    /// <summary>Bytes of the arena of activations that all programs share.</summary>
    internal long ArenaBytes => engine.ArenaBytes;

    /// <summary>The most bytes that were allocated on the device at a time, without what its driver takes.</summary>
    internal long PeakDeviceBytes => session.PeakBytes;

    // The first parameters' types tell the overloads apart, so that optional parameters on both cannot change what a call means.
#pragma warning disable RS0026, RS0027

    /// <summary>Loads a model.</summary>
    /// <param name="model">
    /// A folder in diffusers' layout, a single file, <c>synthetic:sd15</c>, or null for the bundled demo model.
    /// </param>
    /// <param name="device">Where to run; null for the default device.</param>
    /// <param name="cancellationToken">Stops the loading.</param>
    /// <exception cref="StableDiffusionException">
    /// The model is missing, damaged or of a kind that is not supported, or the device cannot be opened or has too little memory.
    /// </exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public static StableDiffusionPipeline Load(
        string? model = null, ComputeDevice? device = null, CancellationToken cancellationToken = default) =>
        Load(new ModelOptions { Model = model }, device, cancellationToken);

    /// <summary>Loads a model with parts of others.</summary>
    /// <param name="options">The model, and what replaces or completes what it holds.</param>
    /// <param name="device">Where to run; null for the default device.</param>
    /// <param name="cancellationToken">Stops the loading.</param>
    /// <exception cref="StableDiffusionException">
    /// A file is missing, damaged or of a kind that is not supported, or the device cannot be opened or has too little memory.
    /// </exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public static StableDiffusionPipeline Load(
        ModelOptions options, ComputeDevice? device = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        var start = Stopwatch.GetTimestamp();
        var target = device ?? ComputeDevice.Default;
        LoadedModel? loaded = null;
        DeviceSession? session = null;
        StableDiffusionPipeline? pipeline = null;
        BackgroundWork? compiling = null;
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        KernelSet<ushort>? kernels = null;
        var opening = Dedicated.Start(() =>
        {
            session = BackendProfile.Open(target);
            stop.Token.ThrowIfCancellationRequested();
            var cache = options.KernelCache is { } folder ? new KernelCache(folder) : null;
            kernels = BackendProfile.HalfKernels(session, BackendProfile.LeafOf(target), cache);
        });
        try
        {
            loaded = LoadedModel.Open(options);
            opening.Wait();
            pipeline = new StableDiffusionPipeline(target, loaded, session!, kernels!, options.Offload);
            compiling = Dedicated.Start(() =>
            {
                pipeline.CompileKernels(stop.Token);
                _ = loaded.Chunks;
            });
            pipeline.engine.Prepare(loaded.UNetConfig.SampleSize, cancellationToken);
            compiling.Wait();
            pipeline.Timings.Load = Stopwatch.GetElapsedTime(start);
            return pipeline;
        }
        catch (Exception e)
        {
            stop.Cancel();
            opening.WaitQuietly();
            compiling?.WaitQuietly();
            var told = session?.Explain(e);
            pipeline?.engine.Dispose();
            session?.Dispose();
            loaded?.Dispose();
            if (told is not null)
            {
                throw told;
            }

            if (e is OperationCanceledException)
            {
                // With the caller's token, and not one that was made of it.
                cancellationToken.ThrowIfCancellationRequested();
            }

            throw;
        }
    }

#pragma warning restore RS0026, RS0027

    /// <summary>Makes the pictures of a request.</summary>
    /// <param name="request">What to draw and how.</param>
    /// <param name="progress">Is told how far it is, on the thread that draws, which waits for it. It cannot draw with this pipeline itself.</param>
    /// <param name="cancellationToken">Stops the generation, or the waiting for its turn.</param>
    /// <exception cref="StableDiffusionException">
    /// A value of the request cannot be used, and nothing was computed; or the device has too little memory, or failed. The pipeline can be used again.
    /// </exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; generation stops within one step, or two that take less than a tenth of a second.</exception>
    /// <exception cref="ObjectDisposedException">The pipeline is disposed, or was while it drew.</exception>
    /// <exception cref="InvalidOperationException">It was called by what watches the progress of this pipeline.</exception>
    public IReadOnlyList<GeneratedImage> Generate(
        GenerationRequest request, IProgress<GenerationProgress>? progress = null, CancellationToken cancellationToken = default) =>
        [.. GenerateEach(request, progress, cancellationToken)];

    /// <summary>
    /// Makes the pictures of a request as they are asked for: each is there as soon as its batch is drawn and it is decoded. Between two pictures other
    /// requests may have their turn.
    /// </summary>
    /// <param name="request">What to draw and how.</param>
    /// <param name="progress">Is told how far it is, on the thread that draws, which waits for it. It cannot draw with this pipeline itself.</param>
    /// <param name="cancellationToken">Stops the generation, or the waiting for its turn.</param>
    /// <exception cref="StableDiffusionException">
    /// A value of the request cannot be used, and nothing was computed; or the device has too little memory, or failed. The pipeline can be used again.
    /// </exception>
    /// <exception cref="OperationCanceledException">The token was cancelled; generation stops within one step, or two that take less than a tenth of a second.</exception>
    /// <exception cref="ObjectDisposedException">The pipeline is disposed, or was while it drew.</exception>
    /// <exception cref="InvalidOperationException">It was called by what watches the progress of this pipeline.</exception>
    public IEnumerable<GeneratedImage> GenerateEach(
        GenerationRequest request, IProgress<GenerationProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        ObjectDisposedException.ThrowIf(turns.AreOver, this);
        var run = new RequestRun<ushort>(engine, model, request, Timings);
        return InTurns(stop => run.Draw(progress, stop), cancellationToken);
    }

    /// <summary>The same pictures, each in a turn of its own.</summary>
    private IEnumerable<GeneratedImage> InTurns(Func<CancellationToken, IEnumerable<GeneratedImage>> draw, CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, turns.Ending);
        using var each = draw(stop.Token).GetEnumerator();
        while (Next(each, stop.Token, cancellationToken))
        {
            yield return each.Current;
        }
    }

    /// <summary>An error of the device is told in one line, and the pipeline can be used again.</summary>
    private bool Next(IEnumerator<GeneratedImage> each, CancellationToken stop, CancellationToken cancellationToken)
    {
        try
        {
            using var turn = turns.Begin(stop);
            try
            {
                return each.MoveNext();
            }
            catch (Exception e) when (e is not OperationCanceledException)
            {
                if (engine.Recover(e) is { } told)
                {
                    throw told;
                }

                throw;
            }
        }
        catch (OperationCanceledException e) when (stop.IsCancellationRequested)
        {
            ObjectDisposedException.ThrowIf(turns.AreOver, this);
            throw new OperationCanceledException(e.Message, e, cancellationToken);
        }
    }

    /// <summary>What a model is, read from its configuration and file headers; no device is touched.</summary>
    /// <exception cref="StableDiffusionException">The model is missing, damaged or of a kind that is not supported.</exception>
    internal static ModelInfo Inspect(ModelOptions options)
    {
        using var loaded = LoadedModel.Open(options);
        return loaded.Describe();
    }

    /// <summary>Writes a model to a file or folder; no device is touched.</summary>
    /// <returns>What became of the LoRAs that are merged.</returns>
    /// <exception cref="StableDiffusionException">
    /// The model cannot be read, or the output not be written; nothing is left of it.
    /// </exception>
    internal static IReadOnlyList<LoraReport> Convert(
        ModelOptions options, string output, TensorType? type, CancellationToken cancellationToken)
    {
        using var loaded = LoadedModel.Open(options);
        loaded.Save(output, type, cancellationToken);
        return loaded.Loras;
    }

    /// <summary>The launches of a generation of this size; with times of one run of each if asked for.</summary>
    internal IReadOnlyList<PlanRow> Plan(int width, int height, bool timed, CancellationToken cancellationToken = default)
    {
        GenerationRequest.CheckSize("width", width);
        GenerationRequest.CheckSize("height", height);
        var (rows, columns) = (height / model.VaeConfig.PixelsPerLatent, width / model.VaeConfig.PixelsPerLatent);
        Func<CompiledGraph<ushort>>[] graphs =
        [
            () => engine.Text(2, cancellationToken: cancellationToken), () => engine.UNet(2, rows, columns, cancellationToken: cancellationToken),
            () => engine.Decoder(rows, columns, cancellationToken: cancellationToken),
        ];
        return [.. graphs.SelectMany(graph => Rows(graph()))];

        List<PlanRow> Rows(CompiledGraph<ushort> graph)
        {
            if (timed)
            {
                graph.ClearInputs();
                foreach (var program in graph.Programs)
                {
                    // The first run pays for first calls and first touches of memory.
                    program.Run(cancellationToken: cancellationToken);
                    program.Run(timed: true, cancellationToken);
                }
            }

            return [.. graph.Programs.SelectMany(p => p.Rows(sizeof(ushort)))];
        }
    }

    /// <summary>Runs the models one by one on the inputs of another device's run, or of a first one, and makes the request's picture.</summary>
    internal ComponentResults RunComponents(GenerationRequest request, ComponentResults? first, CancellationToken cancellationToken)
    {
        request.Validate();
        var (rows, columns) = model.LatentSize(request);
        var run = new ComponentRun<ushort>(engine, model, cancellationToken);
        var (channels, pixels) = (model.UNetConfig.InChannels, rows * columns);
        var noise = first?.Noise ?? Layout.ToChannelsLast(
            new BatchNoise(request.NoiseGenerator, request.Seed, 1, channels * pixels).Draw(), channels, pixels);
        var timestep = request.Sampler.Plan(model.Schedule, request.Steps, request.Scheduler, request.FirstStep, request.Eta).Steps[0].Timestep;
        var text = run.Text(request);
        var unet = run.UNet(noise, first?.Text.Values ?? text.Values, request.GuidanceScale == 1 ? 1 : 2, rows, columns, timestep);
        var decoder = run.Decoder([.. noise.Chunk(channels).SelectMany(p => p.Take(model.VaeConfig.LatentChannels))], rows, columns);
        var picture = ComponentRun<ushort>.Picture(() => Generate(request, null, cancellationToken)[0].Pixels.ToArray());
        return new(text, noise, unet, decoder, picture);
    }

    /// <summary>Stops what is drawn, waits for that, and frees the device's memory. Called by what watches the progress, that is done when its turn is over.</summary>
    public void Dispose() => turns.Dispose();

    private void Free()
    {
        engine.Dispose();
        session.Dispose();
        model.Dispose();
    }

    private void CompileKernels(CancellationToken cancellationToken)
    {
        var start = Stopwatch.GetTimestamp();
        kernels.Warm(cancellationToken);
        Timings.KernelCompile = Stopwatch.GetElapsedTime(start);
    }
}
