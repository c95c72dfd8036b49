using ILGPU.Runtime.Cuda;

namespace StableDiffusion.Ilgpu.Devices;

/// <summary>
/// How far the processor is ahead of a device that takes one step after the other. While the device computes a step, the next one is asked of it, so that it
/// does not wait between two; more are not, for what is asked cannot be taken back; whether steps are short enough for it, the caller knows. It is done with
/// CUDA only: with others every step is waited for.
/// </summary>
internal sealed class StepQueue : IDisposable
{
    private readonly DeviceSession device;
    private readonly nint[] events = [];
    private int added;
    private int done;

    public StepQueue(DeviceSession device)
    {
        this.device = device;
        if (device.Accelerator is CudaAccelerator)
        {
            Most = 1;
            events = new nint[Most + 1];
            foreach (ref var one in events.AsSpan())
            {
                CudaException.ThrowIfFailed(CudaAPI.CurrentAPI.CreateEvent(out one, CudaEventFlags.CU_EVENT_DISABLE_TIMING));
            }
        }
    }

    /// <summary>Steps that may be under way when the next one is asked for.</summary>
    public int Most { get; }

    /// <summary>Steps that are under way.</summary>
    public int Count => added - done;

    /// <summary>Ends a step: what was asked of the device since the last one. No more than <see cref="Most"/> may be under way already.</summary>
    public void Add()
    {
        if (Count > Most)
        {
            throw new InvalidOperationException($"{Count} steps are under way already");
        }

        if (Most > 0)
        {
            CudaException.ThrowIfFailed(CudaAPI.CurrentAPI.RecordEvent(events[added % events.Length], ((CudaStream)device.Stream).StreamPtr));
        }

        added++;
    }

    /// <summary>Waits for the first of the steps that are under way.</summary>
    public void Wait()
    {
        if (Most > 0)
        {
            _ = device.Accelerator;
            CudaException.ThrowIfFailed(CudaAPI.CurrentAPI.SynchronizeEvent(events[done % events.Length]));
        }
        else
        {
            device.Stream.Synchronize();
        }

        done++;
    }

    /// <summary>Waits for all that was asked of the device: its memory is freed next.</summary>
    public void Dispose()
    {
        DeviceSession.Release(() => device.Stream.Synchronize());
        foreach (var one in events)
        {
            _ = CudaAPI.CurrentAPI.DestroyEvent(one);
        }
    }
}
