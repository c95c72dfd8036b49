using StableDiffusion.Ilgpu.Imaging;
using StableDiffusion.Ilgpu.Models;

namespace StableDiffusion.Ilgpu;

/// <summary>Makes pictures of the latents of runs that are under way.</summary>
internal sealed class PreviewDecoder<T>(DiffusionEngine<T> engine, LoadedModel model, GenerationRequest request, LatentDecoder<T> decoder) where T : unmanaged
{
    // The latents whose colours are published: those of the autoencoder that 1.x and 2.x share, which finetuning keeps.
    private static readonly int[] PublishedChannels = [128, 256, 512, 512];

    /// <summary>Refuses what the model lacks a file for.</summary>
    /// <exception cref="StableDiffusionException">It does.</exception>
    public static void Check(GenerationRequest request, LoadedModel model)
    {
        if (request is { PreviewMethod: PreviewMethod.TinyAutoencoder } and not { PreviewInterval: 0, NoisyPreviewInterval: 0 }
            && model.PreviewTaesd is null && !model.IsTaesdDecoder)
        {
            throw new StableDiffusionException("previews with a TAESD need its file, and the model was loaded without one");
        }
    }

    /// <summary>A watch that reports the previews that the request asks for; null where it asks for none.</summary>
    /// <param name="start">The report that previews are added to, with their step: of the first picture of a batch.</param>
    /// <param name="progress">Gets them; null for nobody.</param>
    /// <param name="cancellationToken">Stops the decoding.</param>
    public StepWatch? Watch(GenerationProgress start, IProgress<GenerationProgress>? progress, CancellationToken cancellationToken)
    {
        return progress is null || request is { PreviewInterval: 0, NoisyPreviewInterval: 0 } ? null : new StepWatch(
            start.StepCount, request.PreviewInterval, request.NoisyPreviewInterval,
            (run, done, denoised, noisy) => progress.Report(
                start with { Step = done, Previews = Pictures(run, denoised), NoisyPreviews = Pictures(run, noisy) }));

        IReadOnlyList<GeneratedImage>? Pictures(SamplingRun run, float[]? latents)
        {
            var scale = model.VaeConfig.PixelsPerLatent;
            return latents?.Chunk(latents.Length / run.Pictures).Select((latent, i) => new GeneratedImage(
                run.Width * scale, run.Height * scale, Decode(latent, run.Height, run.Width, cancellationToken),
                request.Seed + start.Image + i, "")).ToList();
        }
    }

    private byte[] Decode(float[] latent, int rows, int columns, CancellationToken cancellationToken) => request.PreviewMethod switch
    {
        PreviewMethod.Linear when HasPublishedColours => LatentColours.Draw(latent, rows, columns, model.VaeConfig.PixelsPerLatent),
        PreviewMethod.TinyAutoencoder when model.PreviewTaesd is not null =>
            engine.DecodePreviewToBytes(latent, rows, columns, cancellationToken),
        _ => decoder.Decode(latent, rows, columns, cancellationToken),
    };

    private bool HasPublishedColours => model.VaeConfig is AutoencoderKlConfig
    {
        OutChannels: 3, LatentChannels: LatentColours.Channels, LayersPerBlock: 2, ScalingFactor: 0.18215,
    } vae && vae.Channels.SequenceEqual(PublishedChannels);
}
