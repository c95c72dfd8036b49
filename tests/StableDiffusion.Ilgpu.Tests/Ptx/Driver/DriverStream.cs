namespace StableDiffusion.Ilgpu.Tests.Ptx.Driver;

/// <summary>
/// What was asked of a stream. It is done when somebody waits for it, as late as a driver may do it: what the host changes or frees in between is found out.
/// </summary>
internal sealed class DriverStream
{
    private readonly Queue<Action> pending = [];
    private long done;

    /// <summary>What is recorded instead of being done; null where nothing is recorded.</summary>
    public List<Action>? Recording { get; set; }

    /// <summary>Whether something was asked while recording that cannot be.</summary>
    public bool IsSpoilt { get; set; }

    /// <summary>How much was asked of it so far.</summary>
    public long Asked => done + pending.Count;

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
    public void Finish() => Finish(Asked);

    /// <summary>Does what was asked first, as much of it as it had been asked at some time.</summary>
    public void Finish(long asked)
    {
        try
        {
            while (done < asked)
            {
                done++;
                pending.Dequeue()();
            }
        }
        catch
        {
            done += pending.Count;
            pending.Clear();
            throw;
        }
    }
}

/// <summary>A place in what a stream was asked.</summary>
internal sealed class DriverEvent
{
    private DriverStream? stream;
    private long asked;

    public void Record(DriverStream on)
    {
        if (on.Recording is not null)
        {
            on.IsSpoilt = true;
            throw new DriverError(DriverStatus.CaptureUnsupported, "an event on a stream that is recorded");
        }

        (stream, asked) = (on, on.Asked);
    }

    public void Wait() => stream?.Finish(asked);
}
