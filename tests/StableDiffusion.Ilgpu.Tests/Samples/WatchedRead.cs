namespace StableDiffusion.Ilgpu.Tests.Samples;

/// <summary>
/// Reads an input and holds the reader to its promise: it ends with success or with one line of
/// <see cref="StableDiffusionException"/>, soon, and without allocating more than twice the file and a constant.
/// </summary>
internal static class WatchedRead
{
    /// <summary>Beside twice the file: what a tokenizer's tables, a JSON file of full size or a reader's own budget take.</summary>
    public const long AllocationConstant = 24 << 20;

    private static readonly TimeSpan Longest = TimeSpan.FromSeconds(5);

    /// <param name="bytes">The input's length.</param>
    /// <param name="read">The reading.</param>
    /// <returns>The error that the reader gave, or null; and what it did that it must not do, or null.</returns>
    public static (StableDiffusionException? Error, string? Finding, long Allocated) Run(long bytes, Action read)
    {
        StableDiffusionException? error = null;
        var start = System.Diagnostics.Stopwatch.GetTimestamp();
        var before = GC.GetAllocatedBytesForCurrentThread();
        try
        {
            read();
        }
        catch (StableDiffusionException e)
        {
            error = e;
        }
        catch (Exception e)
        {
            return (null, $"throws {e.GetType().Name}: {e.Message.ReplaceLineEndings(" ")} {e.StackTrace?.ReplaceLineEndings(" ")}", 0);
        }

        var allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        var time = System.Diagnostics.Stopwatch.GetElapsedTime(start);
        var finding = time > Longest ? $"takes {time.TotalSeconds:f1} s"
            : allocated > (2 * bytes) + AllocationConstant ? $"allocates {allocated} bytes for {bytes}"
            : error is not null && (error.Message.Length == 0 || error.Message.Any(char.IsControl)) ? $"its message is not one line: {error.Message}"
            : null;
        return (error, finding, allocated);
    }
}
