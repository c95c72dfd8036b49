using System.Runtime.ExceptionServices;

namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>Work on threads of its own: ILGPU compiles kernels at the same time and needs the thread pool for itself.</summary>
internal static class Dedicated
{
    /// <summary>
    /// Runs the action for 0 … count - 1 and returns when all are done; the first error is thrown again. Where the system gives fewer threads than are asked
    /// for, those do the work, or else the caller.
    /// </summary>
    public static void For(int count, int threads, Action<int> action, CancellationToken cancellationToken = default) =>
        For(count, threads, action, Start, cancellationToken);

    /// <param name="count">How often the action runs.</param>
    /// <param name="threads">The most threads.</param>
    /// <param name="action">Gets 0 … count - 1.</param>
    /// <param name="start">Starts a thread; throws <see cref="OutOfMemoryException"/> where the system gives none.</param>
    /// <param name="cancellationToken">Ends the work between two numbers.</param>
    internal static void For(int count, int threads, Action<int> action, Func<Action, BackgroundWork> start, CancellationToken cancellationToken)
    {
        var next = -1;
        void Work()
        {
            try
            {
                for (var i = Interlocked.Increment(ref next); i < count; i = Interlocked.Increment(ref next))
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    action(i);
                }
            }
            catch
            {
                next = count;
                throw;
            }
        }

        List<BackgroundWork> workers = [];
        try
        {
            while (workers.Count < Math.Min(threads, count))
            {
                workers.Add(start(Work));
            }
        }
        catch (OutOfMemoryException) when (workers.Count > 0)
        {
            // Those that run use what the caller frees after an error: nobody leaves before they have ended.
        }
        catch (OutOfMemoryException)
        {
            Work();
        }

        foreach (var worker in workers)
        {
            worker.WaitQuietly();
        }

        foreach (var worker in workers)
        {
            worker.Wait();
        }
    }

    /// <summary>Starts the action on a thread of its own.</summary>
    public static BackgroundWork Start(Action action) => new(action);
}

/// <summary>Work under way on a thread of its own.</summary>
internal sealed class BackgroundWork
{
    private readonly Thread thread;
    private ExceptionDispatchInfo? error;

    public BackgroundWork(Action action)
    {
        thread = new Thread(() =>
        {
            try
            {
                action();
            }
            catch (Exception e)
            {
                error = ExceptionDispatchInfo.Capture(e);
            }
        })
        { IsBackground = true };
        thread.Start();
    }

    /// <summary>Waits for the end and throws what the work threw.</summary>
    public void Wait()
    {
        WaitQuietly();
        error?.Throw();
    }

    /// <summary>Waits for the end, whatever it was.</summary>
    public void WaitQuietly() => thread.Join();
}
