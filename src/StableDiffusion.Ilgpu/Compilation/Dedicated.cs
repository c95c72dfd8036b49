using System.Runtime.ExceptionServices;

namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>Work on threads of its own: ILGPU compiles kernels at the same time and needs the thread pool for itself.</summary>
internal static class Dedicated
{
    /// <summary>Runs the action for 0 … count - 1 and returns when all are done; the first error is thrown again.</summary>
    public static void For(int count, int threads, Action<int> action, CancellationToken cancellationToken = default)
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

        BackgroundWork[] workers = [.. Enumerable.Range(0, Math.Min(threads, count)).Select(_ => Start(Work))];
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
