using StableDiffusion.Ilgpu.Imaging;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>Writes and shows pictures while they emerge, and keeps their steps.</summary>
/// <param name="previewPath">Gets the newest preview; null for none.</param>
/// <param name="stepsFiles">Get the steps of each picture; empty for none.</param>
internal sealed class PictureWatch(string? previewPath, IReadOnlyList<string> stepsFiles)
{
    private readonly Dictionary<int, List<GeneratedImage>> frames = [];

    /// <summary>All that it writes.</summary>
    public IEnumerable<string> Files => previewPath is null ? stepsFiles : stepsFiles.Prepend(previewPath);

    /// <summary>A progress that passes everything on.</summary>
    /// <param name="progress">Gets everything.</param>
    /// <param name="display">Gets previews.</param>
    /// <param name="first">The number of the request's first picture among all that the command makes.</param>
    public IProgress<GenerationProgress> Over(IProgress<GenerationProgress> progress, ProgressDisplay display, int first) =>
        new Watcher(this, progress, display, first);

    /// <summary>Picture <paramref name="index"/> is finished: it is its own last preview and last step.</summary>
    public void Finish(int index, GeneratedImage image)
    {
        if (previewPath is not null)
        {
            PngWriter.Write(previewPath, image.Width, image.Height, image.Pixels.Span, image.Parameters);
        }

        if (stepsFiles.Count > 0)
        {
            Frames(index).Add(image);
            PngWriter.Replace(
                stepsFiles[index], StepsPicture.Encode(Path.GetExtension(stepsFiles[index]), Frames(index), image.Parameters));
            frames.Remove(index);
        }
    }

    private List<GeneratedImage> Frames(int index) => frames.TryGetValue(index, out var list) ? list : frames[index] = [];

    private void Keep(int first, GenerationProgress value, ProgressDisplay display)
    {
        if (value.Previews is { } previews && previewPath is not null)
        {
            // Those of a batch stand side by side.
            PngWriter.Replace(previewPath, StepsPicture.Encode(".png", previews, ""));
            display.Show(previews[0]);
        }

        foreach (var (i, noisy) in (value.NoisyPreviews ?? []).Index().Where(_ => stepsFiles.Count > 0))
        {
            Frames(first + i).Add(noisy);
        }
    }

    /// <summary>Is called between two steps, on the thread that computes.</summary>
    private sealed class Watcher(PictureWatch watch, IProgress<GenerationProgress> progress, ProgressDisplay display, int first)
        : IProgress<GenerationProgress>
    {
        public void Report(GenerationProgress value)
        {
            progress.Report(value);
            watch.Keep(first + value.Image, value, display);
        }
    }
}
