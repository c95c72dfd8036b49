using ILGPU;
using ILGPU.Runtime;

namespace StableDiffusion.Ilgpu.Devices;

/// <summary>
/// The processor's memory on the way to a device. It is page-locked where the driver can do that: then the device copies from it straight, and while
/// the processor goes on; from other memory by way of the driver's own.
/// </summary>
internal sealed class HostMemory<T> : IDisposable where T : unmanaged
{
    private readonly Accelerator accelerator;
    private readonly PageLockedArray1D<T>? locked;
    private readonly T[] ordinary;

    /// <param name="accelerator">The device, bound to this thread.</param>
    /// <param name="length">Values.</param>
    public HostMemory(Accelerator accelerator, long length)
    {
        this.accelerator = accelerator;
        try
        {
            locked = accelerator.AllocatePageLocked1D<T>(length, uninitialized: true);
            ordinary = [];
        }
        catch (AcceleratorException)
        {
            // Some systems lock little memory, or none that is there already.
            FailedObjects.Forget();
            ordinary = new T[length];
        }
    }

    public Span<T> Span => locked is null ? ordinary : locked.Span;

    /// <summary>Copies the first values, as many as the target has. They must stay as they are until the stream has come here.</summary>
    public void CopyTo(AcceleratorStream stream, ArrayView<T> target)
    {
        if (locked is not null && target.Length == locked.Length)
        {
            target.CopyFromPageLockedAsync(stream, locked);
        }
        else
        {
            target.CopyFromCPU(stream, Span[..(int)target.Length]);
        }
    }

    public void Dispose() => DeviceSession.Release(() =>
    {
        accelerator.Bind();
        locked?.Dispose();
    });
}
