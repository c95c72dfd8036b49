namespace StableDiffusion.Ilgpu.Tests.Ptx.Driver;

/// <summary>
/// What was asked of a stream. It is done when somebody waits for it, as late as a driver may do it: what the host changes or frees in between is found out.
/// </summary>
internal sealed class DriverStream
{
    private readonly Queue<Action> pending = [];

    /// <summary>What is recorded instead of being done; null where nothing is recorded.</summary>
    public List<Action>? Recording { get; set; }

    /// <summary>Whether something was asked while recording that cannot be.</summary>
    public bool IsSpoilt { get; set; }

    public void Add(Action work)
    {
        if (Recording is { } recording)
        {
            recording.Add(work);
        }
        else
        {
            pending.Enqueue(work);
        }
    }

    /// <summary>What comes behind a mistake is not done.</summary>
    public void Finish()
    {
        try
        {
            while (pending.TryDequeue(out var work))
            {
                work();
            }
        }
        finally
        {
            pending.Clear();
        }
    }
}
