using ILGPU.Runtime;

namespace StableDiffusion.Ilgpu.Devices;

/// <summary>Records launches without running them, so that all of them can be launched at once, again and again.</summary>
internal interface ILaunchRecorder : IDisposable
{
    /// <param name="launches">
    /// Launches on the stream that it is given. It must neither allocate nor wait, and its kernels must have run before: a driver loads some of
    /// them when they are first launched, which it cannot do meanwhile.
    /// </param>
    /// <returns>Null where the driver cannot record launches.</returns>
    IRecordedLaunches? Record(Action<AcceleratorStream> launches);
}

/// <summary>Launches with their arguments, memory included: they must not run when that has been freed.</summary>
internal interface IRecordedLaunches : IDisposable
{
    /// <summary>Launches them in their order.</summary>
    void Launch(AcceleratorStream stream);
}
