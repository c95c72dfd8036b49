using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Sampling;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu;

/// <summary>
/// The three models of a pipeline on a device, with activations stored as <typeparamref name="T"/>. Programs are compiled for each size when
/// it is first asked for and kept; weights and working memory are shared.
/// </summary>
internal sealed class DiffusionEngine<T> : IDisposable where T : unmanaged
{
    private readonly LoadedModel model;
    private readonly DeviceSession device;
    private readonly KernelSet<T> kernels;
    private readonly FusionOptions fusion;
    private readonly Workspace<T> workspace;
    private readonly Dictionary<ModelPart, WeightStore<T>> weights = [];
    private readonly Dictionary<string, CompiledGraph<T>> compiled = [];

    public DiffusionEngine(LoadedModel model, DeviceSession device, KernelSet<T> kernels, FusionOptions fusion)
    {
        (this.model, this.device, this.kernels, this.fusion) = (model, device, kernels, fusion);
        workspace = new Workspace<T>(device);
    }

    /// <summary>Bytes of the arena that all programs so far share.</summary>
    public long ArenaBytes => workspace.ArenaBytes;

    public CompiledGraph<T> Text(int prompts, int clipSkip = 1, CancellationToken cancellationToken = default) =>
        Get(ModelPart.TextEncoder, $"text {prompts} {clipSkip}", () => model.RecordText(prompts, clipSkip), cancellationToken);

    /// <param name="items">Batch items.</param>
    /// <param name="height">Of the latent.</param>
    /// <param name="width">Of the latent.</param>
    /// <param name="tokens">Places of the encoded prompts; null for those of one chunk.</param>
    /// <param name="cancellationToken">Stops the loading.</param>
    public CompiledGraph<T> UNet(int items, int height, int width, int? tokens = null, CancellationToken cancellationToken = default)
    {
        var places = tokens ?? model.TextConfig.Tokens;
        var key = $"unet {items} {height} {width} {places}";
        return Get(ModelPart.UNet, key, () => model.RecordUNet(items, height, width, places), cancellationToken);
    }

    public CompiledGraph<T> Decoder(int height, int width, CancellationToken cancellationToken = default) =>
        Get(ModelPart.Vae, $"decoder {height} {width}", () => model.RecordDecoder(height, width), cancellationToken);

    /// <summary>Token ids of some prompts, one after the other, to their last hidden states (prompts, tokens, hidden).</summary>
    public float[] Encode(ReadOnlySpan<int> ids, int clipSkip = 1, CancellationToken cancellationToken = default)
    {
        var graph = Text(ids.Length / model.TextConfig.Tokens, clipSkip, cancellationToken);
        graph.Write("input_ids", ids);
        graph.Step.Run(cancellationToken: cancellationToken);
        return graph.Read("last_hidden_state");
    }

    /// <summary>Walks a sampler's plan from noise.</summary>
    /// <returns>The latent, channels first.</returns>
    public float[] Sample(SamplingRun run, CancellationToken cancellationToken = default)
    {
        var items = run.Guidance is null ? 1 : 2;
        var (channels, pixels) = (model.VaeConfig.LatentChannels, run.Height * run.Width);
        var tokens = run.Context.Distinct[0].Length / items / model.TextConfig.Hidden;
        var graph = UNet(items, run.Height, run.Width, tokens, cancellationToken);
        float[] Draw() => Layout.ToChannelsLast(run.Draw(), channels, pixels);

        var plan = run.Plan;
        float[]? context = null;
        using var schedule = new ScheduleTable<T>(device, graph, "timestep", [.. plan.Steps.Select(s => s.Timestep)]);
        using var latent = new LatentState<T>(device, kernels, workspace, [.. Draw().Select(n => (float)(n * plan.InitialNoiseScale))]);
        for (var i = 0; i < plan.Steps.Count; i++)
        {
            var step = plan.Steps[i];
            if (run.Context.At(UserStep(i)) is var wanted && wanted != context)
            {
                // The prompt's program may use any memory that does not outlive a step: what a step needs comes after it.
                context = wanted;
                graph.Write("encoder_hidden_states", context);
                graph.Prompt.Run(cancellationToken: cancellationToken);
            }

            schedule.Select(i);
            latent.WriteTo(graph, "sample", items, step.InputScale);
            graph.Step.Run(cancellationToken: cancellationToken);
            latent.Update(graph, "out", run.Guidance, step, step.DrawsNoise || step.Noise != 0 ? Draw() : []);
            run.AfterStep?.Invoke(i + 1);
        }

        return Layout.ToChannelsFirst(latent.Read(), channels, pixels);
    }

    /// <summary>A latent, channels first, to the decoder's output, channels last, about -1 … 1.</summary>
    public float[] Decode(ReadOnlySpan<float> latent, int height, int width, CancellationToken cancellationToken = default) =>
        RunDecoder(latent, height, width, cancellationToken).Read("out");

    /// <summary>A latent, channels first, to the bytes of a picture: rows of R, G, B.</summary>
    public byte[] DecodeToBytes(ReadOnlySpan<float> latent, int height, int width, CancellationToken cancellationToken = default) =>
        RunDecoder(latent, height, width, cancellationToken).ReadBytes("out", kernels);

    public void Dispose()
    {
        foreach (var store in weights.Values)
        {
            store.Dispose();
        }

        workspace.Dispose();
    }

    /// <summary>The step of the user's count, from 0, that a model evaluation belongs to.</summary>
    private static int UserStep(int evaluation) => evaluation;

    private CompiledGraph<T> RunDecoder(ReadOnlySpan<float> latent, int height, int width, CancellationToken cancellationToken)
    {
        var graph = Decoder(height, width, cancellationToken);
        using (var state = new LatentState<T>(device, kernels, workspace, Layout.ToChannelsLast(latent, model.VaeConfig.LatentChannels, height * width)))
        {
            state.WriteTo(graph, "z", 1, 1 / model.LatentScale);
        }

        graph.Step.Run(cancellationToken: cancellationToken);
        return graph;
    }

    private CompiledGraph<T> Get(ModelPart part, string key, Func<Graph> record, CancellationToken cancellationToken)
    {
        if (!compiled.TryGetValue(key, out var graph))
        {
            if (!weights.TryGetValue(part, out var store))
            {
                weights[part] = store = new WeightStore<T>(device, model.OpenWeights(part));
            }

            compiled[key] = graph = CompiledGraph<T>.Compile(record(), fusion, device, kernels, store, workspace, cancellationToken);
        }

        return graph;
    }
}
