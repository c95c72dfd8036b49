namespace StableDiffusion.Ilgpu;

/// <summary>Whose turn it is to use what a pipeline has on its device: one thread's at a time, and nobody's any more once it is disposed.</summary>
/// <param name="free">Frees what they shared, when nobody uses it any more.</param>
internal sealed class Turns(Action free) : IDisposable
{
    private readonly SemaphoreSlim gate = new(1, 1);
    private readonly CancellationTokenSource ending = new();
    private volatile Turn? current;
    private int disposed;

    /// <summary>Cancelled when they are disposed.</summary>
    public CancellationToken Ending => ending.Token;

    /// <summary>Whether they are disposed.</summary>
    public bool AreOver => ending.IsCancellationRequested;

    /// <summary>Waits for the turns before it. It ends when the result is disposed.</summary>
    /// <param name="cancellationToken">Stops the waiting; cancelled by <see cref="Ending"/> too.</param>
    /// <exception cref="InvalidOperationException">The thread has its turn already.</exception>
    public IDisposable Begin(CancellationToken cancellationToken)
    {
        if (current is { IsMine: true })
        {
            throw new InvalidOperationException("what watches the progress of a pipeline cannot draw with it: it waits for its end");
        }

        gate.Wait(cancellationToken);
        return current = new Turn(this);
    }

    public void Dispose()
    {
        if (Interlocked.Exchange(ref disposed, 1) != 0)
        {
            return;
        }

        var mine = current is { IsMine: true } ? current : null;
        ending.Cancel();
        if (mine is not null)
        {
            mine.FreesAtEnd = true;
            return;
        }

        // Nobody is let in again.
        gate.Wait();
        free();
    }

    private void End(bool andFree)
    {
        current = null;
        if (andFree)
        {
            free();
        }
        else
        {
            gate.Release();
        }
    }

    private sealed class Turn(Turns turns) : IDisposable
    {
        private readonly int thread = Environment.CurrentManagedThreadId;

        public bool IsMine => thread == Environment.CurrentManagedThreadId;

        public bool FreesAtEnd { get; set; }

        public void Dispose() => turns.End(FreesAtEnd);
    }
}
