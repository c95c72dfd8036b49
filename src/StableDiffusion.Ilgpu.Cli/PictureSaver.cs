using System.Runtime.ExceptionServices;
using StableDiffusion.Ilgpu.Imaging;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>
/// Saves finished pictures while the next ones are drawn: a fast GPU draws one in a few times what compressing it takes. Files appear in the order of their pictures, and
/// after one that cannot be written none does.
/// </summary>
internal sealed class PictureSaver : IDisposable
{
    private const int MostWaiting = 8;

    /// <summary>Pictures that may wait, so that memory does not fill with them.</summary>
    private readonly SemaphoreSlim places = new(Math.Min(Environment.ProcessorCount, MostWaiting) + 1);

    private readonly CancellationTokenSource stop;
    private Task last = Task.CompletedTask;
    private ExceptionDispatchInfo? error;
    private bool writes = true;
    private bool tells = true;

    /// <param name="cancellation">Stops what draws; what is drawn by then is saved all the same.</param>
    public PictureSaver(CancellationToken cancellation) => stop = CancellationTokenSource.CreateLinkedTokenSource(cancellation);

    /// <summary>Stops what draws, also once there is something for <see cref="Finish"/> to tell.</summary>
    public CancellationToken Cancellation => stop.Token;

    /// <summary>Waits while many pictures are not saved yet.</summary>
    /// <param name="image">The picture.</param>
    /// <param name="file">Its file.</param>
    /// <param name="saved">Is called when it is there, for one picture at a time, until it throws.</param>
    public void Add(GeneratedImage image, string file, Action saved)
    {
        places.Wait();
        last = Save(last, Task.Run(image.ToPng), file, saved);
    }

    /// <summary>Waits for all files, and throws what went wrong first.</summary>
    /// <exception cref="StableDiffusionException">A file could not be written.</exception>
    public void Finish()
    {
        last.Wait();
        error?.Throw();
    }

    public void Dispose()
    {
        last.Wait();
        stop.Dispose();
        places.Dispose();
    }

    private async Task Save(Task before, Task<byte[]> encoding, string file, Action saved)
    {
        await before.ConfigureAwait(false);
        await Task.WhenAny(encoding).ConfigureAwait(false);
        writes = writes && Succeeds(() => PngWriter.Replace(file, encoding.GetAwaiter().GetResult()));
        tells = writes && tells && Succeeds(saved);
        places.Release();
    }

    private bool Succeeds(Action work)
    {
        try
        {
            work();
            return true;
        }
        catch (Exception e)
        {
            error ??= ExceptionDispatchInfo.Capture(e);
            stop.Cancel();
            return false;
        }
    }
}
