using System.Diagnostics;
using StableDiffusion.Ilgpu.Compilation;

namespace StableDiffusion.Ilgpu;

/// <summary>Runs a pipeline's models one by one on given inputs, with times.</summary>
internal sealed class ComponentRun<T>(DiffusionEngine<T> engine, LoadedModel model, CancellationToken cancellationToken) where T : unmanaged
{
    /// <summary>Runs of which the shortest time is taken; one more comes before them and pays for first calls.</summary>
    private const int Runs = 3;

    private const double ShortSeconds = 1;

    /// <summary>The prompts of a request, encoded as its first step takes them.</summary>
    public Timed<float[]> Text(GenerationRequest request) => Time(() => new PromptConditioning(
        model, (ids, clipSkip) => engine.Encode(ids, clipSkip, cancellationToken)).Encode(request, request.GuidanceScale != 1).At(0));

    /// <param name="noise">The latent, channels last: one picture's.</param>
    /// <param name="context">What <see cref="Text"/> gave: as many places an item as its prompts have.</param>
    /// <param name="items">Batch items: 2 with guidance.</param>
    /// <param name="rows">Of the latent.</param>
    /// <param name="columns">Of the latent.</param>
    /// <param name="timestep">Of the step.</param>
    public Timed<float[]> UNet(float[] noise, float[] context, int items, int rows, int columns, double timestep)
    {
        var tokens = context.Length / items / model.TextConfig.Hidden;
        var graph = engine.UNet(items, rows, columns, tokens: tokens, cancellationToken: cancellationToken);
        graph.Write("sample", Enumerable.Repeat(noise, items).SelectMany(v => v).ToArray());
        graph.Write("timestep", [(float)timestep]);
        graph.Write("encoder_hidden_states", context);
        graph.Prompt.Run(cancellationToken: cancellationToken);
        graph.Schedule.Run(cancellationToken: cancellationToken);
        return Time(() =>
        {
            graph.Step.Run(cancellationToken: cancellationToken);
            return graph.Read("out");
        });
    }

    public Timed<float[]> Decoder(float[] latent, int rows, int columns) =>
        Time(() => engine.Decode(Layout.ToChannelsFirst(latent, model.VaeConfig.LatentChannels, rows * columns), rows, columns, cancellationToken: cancellationToken));

    /// <summary>One that is drawn fast is drawn as often as the components run: what first calls take is much of its first time.</summary>
    public static Timed<byte[]> Picture(Func<byte[]> draw)
    {
        var first = TimeOnce(draw);
        return first.Seconds < ShortSeconds ? Shortest(draw) : first;
    }

    private static Timed<float[]> Time(Func<float[]> run)
    {
        _ = run();
        return Shortest(run);
    }

    private static Timed<TValues> Shortest<TValues>(Func<TValues> run) => Enumerable.Range(0, Runs).Select(_ => TimeOnce(run)).MinBy(timed => timed.Seconds);

    private static Timed<TValues> TimeOnce<TValues>(Func<TValues> run)
    {
        var start = Stopwatch.GetTimestamp();
        var values = run();
        return new(values, Stopwatch.GetElapsedTime(start).TotalSeconds);
    }
}
