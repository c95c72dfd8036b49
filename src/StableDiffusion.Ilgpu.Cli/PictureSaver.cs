using System.Diagnostics;
using StableDiffusion.Ilgpu.Imaging;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>
/// Saves finished pictures while the next ones are drawn: a fast GPU draws one in the time that compressing it takes. Files appear in the order of their pictures, and
/// after one that cannot be written none does.
/// </summary>
internal sealed class PictureSaver : IDisposable
{
    /// <summary>Pictures that may wait, so that memory does not fill with them.</summary>
    private readonly SemaphoreSlim places = new(Environment.ProcessorCount + 1);

    private readonly CancellationTokenSource stop;
    private Task last = Task.CompletedTask;
    private long ticks;
    private volatile bool hasFailed;

    /// <param name="cancellation">Stops what draws; what is drawn by then is saved all the same.</param>
    public PictureSaver(CancellationToken cancellation) => stop = CancellationTokenSource.CreateLinkedTokenSource(cancellation);

    /// <summary>Stops what draws, also when a file could not be written.</summary>
    public CancellationToken Cancellation => stop.Token;

    /// <summary>Whether a file could not be written; <see cref="Finish"/> says why.</summary>
    public bool HasFailed => hasFailed;

    /// <summary>Of all files together, encoding and writing.</summary>
    public TimeSpan Time => new(Interlocked.Read(ref ticks));

    /// <summary>Waits while many pictures are not saved yet.</summary>
    /// <param name="image">The picture.</param>
    /// <param name="file">Its file.</param>
    /// <param name="saved">Is called when it is there, on another thread, for one picture at a time.</param>
    public void Add(GeneratedImage image, string file, Action saved)
    {
        places.Wait();
        last = Save(last, Task.Run(() => Timed(image.ToPng)), file, saved);
    }

    /// <summary>Waits for all files.</summary>
    /// <exception cref="StableDiffusionException">One could not be written.</exception>
    public void Finish() => last.GetAwaiter().GetResult();

    public void Dispose()
    {
        // What failed was told by Finish, unless something else went wrong before.
        Task.WhenAny(last).Wait();
        stop.Dispose();
        places.Dispose();
    }

    private async Task Save(Task before, Task<byte[]> encoding, string file, Action saved)
    {
        try
        {
            await before.ConfigureAwait(false);
            var png = await encoding.ConfigureAwait(false);
            Timed(() =>
            {
                PngWriter.Replace(file, png);
                return 0;
            });
            saved();
        }
        catch
        {
            hasFailed = true;
            stop.Cancel();
            throw;
        }
        finally
        {
            places.Release();
        }
    }

    private T Timed<T>(Func<T> work)
    {
        var start = Stopwatch.GetTimestamp();
        var result = work();
        Interlocked.Add(ref ticks, Stopwatch.GetElapsedTime(start).Ticks);
        return result;
    }
}
