using System.Diagnostics;
using System.Runtime.ExceptionServices;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Models;
using StableDiffusion.Ilgpu.Sampling;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu;

/// <summary>
/// The three models of a pipeline on a device, with activations stored as <typeparamref name="T"/>. Programs are compiled for each size when
/// it is first asked for and kept, with offload as long as its model is on the device; weights and working memory are shared.
/// </summary>
internal sealed class DiffusionEngine<T> : IDisposable where T : unmanaged
{
    private readonly LoadedModel model;
    private readonly DeviceSession device;
    private readonly KernelSet<T> kernels;
    private readonly FusionOptions fusion;
    private readonly Workspace<T> workspace;
    private readonly CompiledParts<T> parts;

    /// <param name="model">The three models.</param>
    /// <param name="device">Where they run.</param>
    /// <param name="kernels">Compiled for it.</param>
    /// <param name="fusion">How graphs are compiled.</param>
    /// <param name="offload">The models take turns on the device: each is loaded when it is needed, in place of the one before.</param>
    public DiffusionEngine(LoadedModel model, DeviceSession device, KernelSet<T> kernels, FusionOptions fusion, bool offload = false)
    {
        (this.model, this.device, this.kernels, this.fusion) = (model, device, kernels, fusion);
        workspace = new Workspace<T>(device);
        parts = new CompiledParts<T>(device, kernels, fusion, workspace, offload);
    }

    /// <summary>
    /// Steps that take less are asked of the device one ahead, where its driver lets it (<see cref="StepQueue"/>): with longer ones what it waits between two does not
    /// count, and a cancelled run should not take one more.
    /// </summary>
    public TimeSpan ShortStep { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>It computes on the processor's cores, by whichever driver.</summary>
    public bool IsProcessor => device.IsProcessor;

    /// <summary>Bytes of the arena that all programs so far share.</summary>
    public long ArenaBytes => workspace.ArenaBytes;

    /// <summary>
    /// Bytes that the arena may grow to: what the device has left, and what the arena takes now, in one buffer. With offload, as it is when
    /// the part has come and the others have left.
    /// </summary>
    /// <param name="part">The part that is needed next.</param>
    public long ArenaBudget(ModelPart part) => parts.ArenaBudget(part, () => part switch
    {
        ModelPart.TextEncoder => model.RecordText(1),
        ModelPart.UNet => model.RecordUNet(1, model.UNetConfig.SampleSize, model.UNetConfig.SampleSize),
        _ => model.RecordDecoder(1, 1),
    });

    /// <summary>
    /// Loads and compiles what pictures of this size need, the three models side by side: reading, packing, recording and compiling take
    /// turns on all cores, and nothing waits for what it does not need. The first error stops the others. With offload only the text encoder,
    /// which every picture begins with, is loaded; the others are opened and checked.
    /// </summary>
    /// <param name="size">Height and width of the latent.</param>
    /// <param name="cancellationToken">Stops the loading.</param>
    public void Prepare(int size, CancellationToken cancellationToken)
    {
        if (parts.TakeTurns)
        {
            foreach (var part in Enum.GetValues<ModelPart>())
            {
                model.OpenWeights(part).Dispose();
            }

            Text(2, cancellationToken: cancellationToken);
            return;
        }

        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var token = stop.Token;
        Func<CompiledGraph<T>>[] models =
        [
            () => UNet(2, size, size, cancellationToken: token),
            () => Text(2, cancellationToken: token),
            () => Decoder(size, size, cancellationToken: token),
        ];
        ExceptionDispatchInfo? error = null;
        Dedicated.For(models.Length, models.Length, i =>
        {
            try
            {
                _ = models[i]();
            }
            catch (Exception e)
            {
                Interlocked.CompareExchange(ref error, ExceptionDispatchInfo.Capture(e), null);
                stop.Cancel();
            }
        }, CancellationToken.None);
        error?.Throw();

        // Pictures may be smaller, or decoded in tiles: a graph takes memory when it is used.
        workspace.Clear();
    }

    public CompiledGraph<T> Text(int prompts, int clipSkip = 1, CancellationToken cancellationToken = default) =>
        Get(ModelPart.TextEncoder, $"text {prompts} {clipSkip}", () => model.RecordText(prompts, clipSkip), cancellationToken);

    /// <param name="items">Batch items.</param>
    /// <param name="height">Of the latent.</param>
    /// <param name="width">Of the latent.</param>
    /// <param name="circular">Convolutions wrap around the edges.</param>
    /// <param name="tokens">Places of the encoded prompts; null for those of one chunk.</param>
    /// <param name="cancellationToken">Stops the loading.</param>
    public CompiledGraph<T> UNet(
        int items, int height, int width, bool circular = false, int? tokens = null, CancellationToken cancellationToken = default)
    {
        var places = tokens ?? model.TextConfig.Tokens;
        var key = $"unet {items} {height} {width} {circular} {places}";
        return Get(ModelPart.UNet, key, () => model.RecordUNet(items, height, width, circular, places), cancellationToken);
    }

    public CompiledGraph<T> Decoder(int height, int width, bool circular = false, CancellationToken cancellationToken = default) =>
        Get(ModelPart.Vae, DecoderKey(height, width, circular), () => model.RecordDecoder(height, width, circular), cancellationToken);

    /// <summary>
    /// Has the arena made as large as this decoder needs it, if it is compiled already, parts do not take turns, and memory is plenty: an arena that grows
    /// between the UNet's steps and the decoder makes it necessary to record the UNet's launches anew for the next picture.
    /// </summary>
    public void ReserveDecoder(int height, int width, bool circular = false)
    {
        if (!parts.TakeTurns && parts.Find(ModelPart.Vae, DecoderKey(height, width, circular)) is { } decoder
            && decoder.ArenaBytes <= ArenaBudget(ModelPart.Vae) / 2)
        {
            decoder.Reserve();
        }
    }

    /// <summary>For pictures of so many pixels.</summary>
    public CompiledGraph<T> Encoder(int height, int width, bool circular = false, CancellationToken cancellationToken = default) => parts.Get(
        ModelPart.Vae, "encoder", model.OpenEncoderWeights, $"encoder {height} {width} {circular}", () => model.RecordEncoder(height, width, circular),
        cancellationToken);

    /// <summary>Bytes of arena that a UNet call needs, with its prompts' keys and values; <see cref="UNet"/> says what the parameters are.</summary>
    public long MeasureUNet(int items, int height, int width, bool circular = false, int? tokens = null) =>
        CompiledGraph<T>.MeasureArena(model.RecordUNet(items, height, width, circular, tokens), fusion);

    /// <summary>Bytes of arena that decoding a whole latent needs.</summary>
    public long MeasureDecoder(int height, int width) => CompiledGraph<T>.MeasureArena(model.RecordDecoder(height, width), fusion);

    /// <summary>Bytes of arena that encoding a whole picture of so many pixels needs.</summary>
    public long MeasureEncoder(int height, int width) => CompiledGraph<T>.MeasureArena(model.RecordEncoder(height, width), fusion);

    /// <summary>Token ids of some prompts, one after the other, to their last hidden states (prompts, tokens, hidden).</summary>
    public float[] Encode(ReadOnlySpan<int> ids, int clipSkip = 1, CancellationToken cancellationToken = default)
    {
        var graph = Text(ids.Length / model.TextConfig.Tokens, clipSkip, cancellationToken);
        graph.Write("input_ids", ids);
        graph.Step.Run(cancellationToken: cancellationToken);
        return graph.Read("last_hidden_state");
    }

    /// <summary>Walks a sampler's plan from noise.</summary>
    /// <returns>The latents, channels first.</returns>
    public float[] Sample(SamplingRun run, CancellationToken cancellationToken = default)
    {
        var halves = run.Guidance is null ? 1 : 2;
        var tokens = run.Context.Tokens(halves, model.TextConfig.Hidden);
        var graph = UNet(halves * run.Pictures, run.Height, run.Width, run.Circular, tokens, cancellationToken);
        parts.IsHeld = true;
        try
        {
            return Walk(graph, run, cancellationToken);
        }
        finally
        {
            parts.IsHeld = false;
        }
    }

    /// <summary>Takes the steps. Whoever watches may need other models meanwhile.</summary>
    private float[] Walk(CompiledGraph<T> graph, SamplingRun run, CancellationToken cancellationToken)
    {
        var halves = run.Guidance is null ? 1 : 2;
        var (channels, pixels) = (model.VaeConfig.LatentChannels, run.Height * run.Width);
        float[] Last(float[] first) => Layout.ToChannelsLast(first, channels, pixels);
        float[] Draw() => Last(run.Draw());

        var plan = run.Plan;
        float[]? context = null;
        float[]? denoised = null;
        using var schedule = new ScheduleTable<T>(device, graph, "timestep", [.. plan.Steps.Select(s => s.Timestep)]);
        var noise = run.StartNoise is { } given ? Last(given) : Draw();
        using var latent = new LatentState<T>(device, kernels, workspace, Begin(run, noise, run.Start is { } start ? Last(start) : null), channels);
        using var conditions = run.Conditions is not { } beside ? null : new LatentConditions<T>(
            device, kernels, workspace, Layout.ToChannelsLast(beside, beside.Length / (pixels * run.Pictures), pixels), channels);
        using var blend = run.Blend is { } masked ? new LatentBlend<T>(device, kernels, workspace, Last(masked.Known), noise, masked.Mask) : null;
        var done = 0;
        using var queue = new StepQueue(device);
        var (last, areShort) = (Stopwatch.GetTimestamp(), false);
        for (var i = 0; i < plan.Steps.Count; i++)
        {
            var step = plan.Steps[i];
            if (run.Watch?.IsDue(i) == true)
            {
                Finish(0);
            }

            if (run.Watch?.Look(run, i, denoised, () => Read(latent, step.InputScale)) == true)
            {
                // Decoders have used the arena meanwhile.
                context = null;
            }

            if (run.Context.At(step.Index - plan.Steps[0].Index) is var wanted && wanted != context)
            {
                // The prompt's program may use any memory that does not outlive a step: what a step needs comes after it.
                context = wanted;
                graph.Write("encoder_hidden_states", BatchPlan.Repeat(context, halves, run.Pictures));
                graph.Prompt.Run(cancellationToken: cancellationToken);
            }

            schedule.Select(i);
            latent.WriteTo(graph, "sample", halves, step.InputScale);
            conditions?.WriteTo(graph, "sample", halves);
            graph.Step.Run(cancellationToken: cancellationToken);

            // Before anything waits for the device: drawing takes the processor a part of the time that a GPU takes for the step.
            var fresh = step.DrawsNoise || step.Noise != 0 ? Draw() : [];
            denoised = null;
            if (run.Watch?.WantsDenoised(i + 1) == true)
            {
                Finish(0);
                denoised = Layout.ToChannelsFirst(Denoised(latent.Read(), graph.Read("out"), run.Guidance, step), channels, pixels);
            }

            latent.Update(graph, "out", run.Guidance, step, fresh);
            blend?.Apply(latent, channels, i + 1 < plan.Steps.Count ? plan.Steps[i + 1].Start : plan.End);
            queue.Add();
            Finish(areShort ? queue.Most : 0);
        }

        Finish(0);
        run.Watch?.Look(run, plan.Steps.Count, denoised, readNoisy: null);
        return Read(latent, scale: 1);

        // Tells of each step when it is done. The first one is waited for, and tells how long they take.
        void Finish(int left)
        {
            while (queue.Count > left)
            {
                queue.Wait();
                areShort = Stopwatch.GetElapsedTime(last) < ShortStep;
                run.AfterStep?.Invoke(++done);
                last = Stopwatch.GetTimestamp();
            }
        }

        float[] Read(LatentState<T> state, double scale) =>
            Layout.ToChannelsFirst([.. state.Read().Select(x => (float)(x * scale))], channels, pixels);
    }

    /// <summary>A picture, channels last, -1 … 1, to what the autoencoder makes of it: mean and logarithm of the variance of its latent.</summary>
    public PictureLatent EncodePicture(
        ReadOnlySpan<float> picture, int height, int width, bool circular = false, CancellationToken cancellationToken = default)
    {
        var graph = Encoder(height, width, circular, cancellationToken);
        graph.Write("image", picture);
        graph.Step.Run(cancellationToken: cancellationToken);
        var output = graph.Graph.Outputs.Values.Single();
        var values = Layout.ToChannelsFirst(graph.Read(graph.Graph.Outputs.Keys.Single()), output.C, output.Shape.RowsPerItem);
        return new PictureLatent(values, model.VaeConfig.LatentChannels * output.Shape.RowsPerItem, model.LatentScale);
    }

    /// <summary>A latent, channels first, to the decoder's output, channels last, about -1 … 1.</summary>
    public float[] Decode(
        ReadOnlySpan<float> latent, int height, int width, bool circular = false, CancellationToken cancellationToken = default) =>
        RunDecoder(latent, height, width, circular, cancellationToken).Read("out");

    /// <summary>A latent, channels first, to the bytes of a picture: rows of R, G, B.</summary>
    public byte[] DecodeToBytes(
        ReadOnlySpan<float> latent, int height, int width, bool circular = false, CancellationToken cancellationToken = default) =>
        RunDecoder(latent, height, width, circular, cancellationToken).ReadBytes("out", kernels);

    /// <summary>The same through the TAESD that is there for previews.</summary>
    public byte[] DecodePreviewToBytes(ReadOnlySpan<float> latent, int height, int width, CancellationToken cancellationToken = default)
    {
        var taesd = model.PreviewTaesd ?? throw new InvalidOperationException("the model was opened without a TAESD for previews");
        var graph = parts.Get(
            ModelPart.Vae, "preview", () => taesd.OpenWeights(), $"preview {height} {width}", () => TinyAutoencoder.RecordDecoder(taesd.Config, 1, height, width),
            cancellationToken);
        Run(graph, latent, height, width, scale: 1, cancellationToken);
        return graph.ReadBytes("out", kernels);
    }

    /// <summary>
    /// Makes the engine what it was before its first graph, so that a smaller request may go well where one has failed.
    /// </summary>
    /// <returns>What a caller is told of an error of the device; null for another one, which is told as it is.</returns>
    public StableDiffusionException? Recover(Exception error)
    {
        try
        {
            parts.ForgetGraphs();
        }
        catch (Exception again) when (device.Explain(again) is not null)
        {
            // A driver that has failed may fail at everything from now on; the first error tells more.
        }

        return device.Explain(error);
    }

    public void Dispose()
    {
        parts.Dispose();
        workspace.Dispose();
    }

    /// <summary>What a run starts from: noise, or a picture's latent under noise.</summary>
    private static float[] Begin(SamplingRun run, float[] noise, float[]? start)
    {
        if (start is null)
        {
            return [.. noise.Select(n => (float)(n * run.Plan.InitialNoiseScale))];
        }

        var mix = run.Plan.Start;
        return start.Length == noise.Length ? [.. start.Zip(noise, (x, n) => (float)((mix.Signal * x) + (mix.Noise * n)))]
            : throw new InvalidOperationException($"{start.Length} values to start from, {noise.Length} of noise");
    }

    /// <summary>
    /// What the model takes for the picture behind the noise (x0), from the latents before a step and the outputs for them, channels last. The
    /// step's timestep and scale alone say how noisy a latent is, so this holds for every sampler.
    /// </summary>
    private float[] Denoised(float[] latents, float[] output, double? guidance, SamplingStep step)
    {
        var sigma = model.Schedule.Sigma(step.Timestep);
        var (fromLatent, fromModel) = model.Schedule.Denoised(1 / ((sigma * sigma) + 1));
        return [.. latents.Select((x, i) =>
        {
            var predicted = guidance is { } scale ? output[i] + (scale * (output[latents.Length + i] - output[i])) : output[i];
            return (float)((fromLatent * step.InputScale * x) + (fromModel * predicted));
        })];
    }

    private static string DecoderKey(int height, int width, bool circular) => $"decoder {height} {width} {circular}";

    private CompiledGraph<T> RunDecoder(
        ReadOnlySpan<float> latent, int height, int width, bool circular, CancellationToken cancellationToken)
    {
        var graph = Decoder(height, width, circular, cancellationToken);
        Run(graph, latent, height, width, 1 / model.LatentScale, cancellationToken);
        return graph;
    }

    private void Run(
        CompiledGraph<T> decoder, ReadOnlySpan<float> latent, int height, int width, double scale, CancellationToken cancellationToken)
    {
        var channels = model.VaeConfig.LatentChannels;
        using (var state = new LatentState<T>(device, kernels, workspace, Layout.ToChannelsLast(latent, channels, height * width), channels))
        {
            state.WriteTo(decoder, "z", 1, scale);
        }

        decoder.Step.Run(cancellationToken: cancellationToken);
    }

    private CompiledGraph<T> Get(ModelPart part, string key, Func<Graph> record, CancellationToken cancellationToken) =>
        parts.Get(part, part.ToString(), () => model.OpenWeights(part), key, record, cancellationToken);
}
