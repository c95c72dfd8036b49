namespace StableDiffusion.Ilgpu.Devices;

/// <summary>Where threads that run side by side wait for each other, again and again.</summary>
internal sealed class GroupMeeting
{
    /// <summary>
    /// How often a thread looks whether all have come before it sleeps: for some tens of microseconds, as small kernels take. Waking it takes
    /// about as long.
    /// </summary>
    private const int Looks = 100;

    private readonly object sleepers = new();
    private readonly int threads;
    private readonly CancellationToken cancellationToken;
    private int missing;
    private bool goesOn = true;
    private volatile int meetings;

    /// <param name="threads">How many there are.</param>
    /// <param name="cancellationToken">Ends their work at the next meeting.</param>
    public GroupMeeting(int threads, CancellationToken cancellationToken) => (this.threads, missing, this.cancellationToken) = (threads, threads, cancellationToken);

    /// <summary>Returns when all threads have called it.</summary>
    /// <returns>Whether to go on, the same for all.</returns>
    public bool Wait()
    {
        // Read before this thread counts as having come: the meeting cannot end in between.
        var meeting = meetings;
        if (Interlocked.Decrement(ref missing) == 0)
        {
            missing = threads;
            goesOn = !cancellationToken.IsCancellationRequested;
            lock (sleepers)
            {
                meetings = meeting + 1;
                Monitor.PulseAll(sleepers);
            }

            return goesOn;
        }

        var spin = default(SpinWait);
        for (var look = 0; look < Looks; look++)
        {
            if (meetings != meeting)
            {
                return goesOn;
            }

            spin.SpinOnce(sleep1Threshold: -1);
        }

        lock (sleepers)
        {
            while (meetings == meeting)
            {
                Monitor.Wait(sleepers);
            }
        }

        return goesOn;
    }
}
