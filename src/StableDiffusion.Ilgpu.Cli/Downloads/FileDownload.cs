using System.Net;
using Microsoft.Win32.SafeHandles;

namespace StableDiffusion.Ilgpu.Cli.Downloads;

/// <summary>
/// Fetches one file into <c>NAME.part</c> over several connections, a piece at a time, keeping count in <c>NAME.part.json</c>; what is
/// there from an earlier run is not fetched again. The caller checks the content and gives it its name.
/// </summary>
/// <param name="hub">Where from.</param>
/// <param name="source">The file, as messages name it.</param>
/// <param name="commit">The commit to take it from.</param>
/// <param name="size">Its bytes.</param>
/// <param name="digest">Its digest, where it is known: says whether an earlier part belongs to the same content.</param>
/// <param name="target">The final path.</param>
/// <param name="progress">Gets the bytes gained since its last call; negative where a part was lost.</param>
internal sealed class FileDownload(
    HubClient hub, HubReference source, string commit, long size, Digest? digest, string target, Action<long> progress)
{
    private const int Connections = 4;
    private const long PieceBytes = 8 << 20;
    private const int BufferBytes = 128 << 10;

    /// <summary>A try that gained so much was not in vain.</summary>
    private const long WorthwhileBytes = 64 << 10;

    private static readonly TimeSpan StateInterval = TimeSpan.FromSeconds(2);
    private readonly string what = source.ToString();
    private ResumeState state = new();
    private SafeFileHandle part = null!;
    private volatile Uri address = null!;
    private long lastStateWrite;

    public static string PartOf(string target) => target + ".part";

    public static string StateOf(string target) => PartOf(target) + ".json";

    /// <summary>Bytes on the disk that an earlier run took for a file.</summary>
    public static long AllocatedBytes(string target) => File.Exists(PartOf(target)) ? new FileInfo(PartOf(target)).Length : 0;

    /// <summary>Leaves a whole <c>.part</c>.</summary>
    /// <exception cref="StableDiffusionException">The server does not give the file; what came is kept for the next run.</exception>
    public async Task RunAsync(CancellationToken cancellation)
    {
        var location = await hub.LocateAsync(source, commit, cancellation);
        if (location.Size is { } said && said != size)
        {
            throw new StableDiffusionException($"{what}: wrong length: the hub lists {size} bytes, its file has {said}");
        }

        // A digest in the tag of a large file is the hub's word too.
        if (digest is not null && Digest.OrNull(digest.Kind, location.Tag, Digest.FromHub) is { } tagged && !digest.Agrees(tagged))
        {
            throw new StableDiffusionException(
                $"{what}: the hub offers {tagged.Name} {tagged.Value}, but {digest.Source} says {digest.Value}");
        }

        address = location.Address;
        Open(digest?.Value ?? location.Tag);
        using (part)
        {
            try
            {
                if (!await FetchPiecesAsync(cancellation))
                {
                    await FetchAllAsync(cancellation);
                }
            }
            finally
            {
                state.Write(StateOf(target));
            }
        }
    }

    private void Open(string? tag)
    {
        var path = PartOf(target);
        var earlier = File.Exists(path) && new FileInfo(path).Length == size ? ResumeState.Read(StateOf(target), size, tag) : null;
        state = earlier ?? ResumeState.Create(size, tag, PieceBytes);
        if (earlier is null)
        {
            File.Delete(StateOf(target));
            File.Delete(path);
            part = File.OpenHandle(path, FileMode.CreateNew, FileAccess.Write, FileShare.Read, FileOptions.Asynchronous, size);
            RandomAccess.SetLength(part, size);
        }
        else
        {
            part = File.OpenHandle(path, FileMode.Open, FileAccess.Write, FileShare.Read, FileOptions.Asynchronous);
            progress(state.DoneBytes);
        }
    }

    /// <summary>False where the server knows no ranges.</summary>
    private async Task<bool> FetchPiecesAsync(CancellationToken cancellation)
    {
        var missing = new Queue<int>(Enumerable.Range(0, state.Pieces).Where(i => !state.IsWhole(i)));
        if (missing.Count == 0)
        {
            return true;
        }

        // The first piece shows whether ranges are understood.
        if (!await FetchPieceAsync(missing.Dequeue(), cancellation))
        {
            return false;
        }

        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        await Task.WhenAll(Enumerable.Range(0, Math.Min(Connections, missing.Count)).Select(async _ =>
        {
            try
            {
                while (TryTake(missing, out var piece))
                {
                    if (!await FetchPieceAsync(piece, stop.Token))
                    {
                        throw new StableDiffusionException($"{what}: the server gave one range and refuses the next");
                    }
                }
            }
            catch
            {
                await stop.CancelAsync();
                throw;
            }
        }));
        return true;
    }

    private static bool TryTake(Queue<int> pieces, out int piece)
    {
        lock (pieces)
        {
            return pieces.TryDequeue(out piece);
        }
    }

    private async Task<bool> FetchPieceAsync(int piece, CancellationToken cancellation)
    {
        var retries = new Retries(hub.FirstDelay);
        while (!state.IsWhole(piece))
        {
            var before = state.Done[piece];
            try
            {
                var from = state.StartOf(piece) + before;
                var to = state.StartOf(piece) + state.LengthOf(piece) - 1;
                using var response = await hub.FetchAsync(address, (from, to), what, cancellation);
                if (response.StatusCode != HttpStatusCode.PartialContent)
                {
                    return false;
                }

                var range = response.Content.Headers.ContentRange;
                if (range?.From != from || (range.Length is { } all && all != size))
                {
                    throw new StableDiffusionException(
                        $"{what}: wrong length or range: asked for bytes {from} to {to} of {size}, got '{range?.ToString() ?? "none"}'");
                }

                await CopyAsync(response, from, to - from + 1, gained => state.Done[piece] += gained, cancellation);
            }
            catch (TransientException e)
            {
                if (state.Done[piece] - before >= WorthwhileBytes)
                {
                    retries.Reset();
                }

                state.Write(StateOf(target));
                await retries.WaitAsync(e, cancellation);

                // An address behind a redirect may have aged.
                address = (await hub.LocateAsync(source, commit, cancellation)).Address;
            }
        }

        return true;
    }

    private async Task FetchAllAsync(CancellationToken cancellation)
    {
        await Retries.RunAsync(
            hub.FirstDelay,
            async () =>
            {
                progress(-state.DoneBytes);
                state.Clear();
                state.Write(StateOf(target));
                using var response = await hub.FetchAsync(address, null, what, cancellation);
                if (response.Content.Headers.ContentLength is { } said && said != size)
                {
                    throw new StableDiffusionException($"{what}: wrong length: the hub lists {size} bytes, the server sends {said}");
                }

                var piece = 0;
                await CopyAsync(response, 0, size, gained =>
                {
                    for (; gained > 0; gained -= Fill(ref piece, gained))
                    {
                    }
                }, cancellation);
                return true;
            },
            cancellation);
    }

    private long Fill(ref int piece, long bytes)
    {
        var fits = Math.Min(bytes, state.LengthOf(piece) - state.Done[piece]);
        state.Done[piece] += fits;
        piece += state.IsWhole(piece) ? 1 : 0;
        return fits;
    }

    /// <summary>Writes exactly <paramref name="length"/> bytes of a body at <paramref name="offset"/>.</summary>
    private async Task CopyAsync(
        HttpResponseMessage response, long offset, long length, Action<long> onGained, CancellationToken cancellation)
    {
        using var body = await response.Content.ReadAsStreamAsync(cancellation);
        var buffer = new byte[BufferBytes];
        var left = length;
        while (true)
        {
            var read = await HubClient.ReadAsync(body, buffer, what, cancellation);
            if (read == 0)
            {
                break;
            }

            if (read > left)
            {
                throw new StableDiffusionException($"{what}: wrong length: the server sends more than the {length} bytes asked for");
            }

            await RandomAccess.WriteAsync(part, buffer.AsMemory(0, read), offset + length - left, cancellation);
            left -= read;
            onGained(read);
            progress(read);
            WriteStateNowAndThen();
        }

        if (left > 0)
        {
            throw new TransientException($"{what}: wrong length: {left} of {length} bytes are missing at the end");
        }
    }

    private void WriteStateNowAndThen()
    {
        var last = Interlocked.Read(ref lastStateWrite);
        var now = Environment.TickCount64;
        if (now - last > StateInterval.TotalMilliseconds && Interlocked.CompareExchange(ref lastStateWrite, now, last) == last)
        {
            state.Write(StateOf(target));
        }
    }
}
