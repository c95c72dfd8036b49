using ILGPU.Runtime;

namespace StableDiffusion.Ilgpu.Devices;

/// <summary>Records launches without running them, so that all of them can be launched at once, again and again.</summary>
internal interface ILaunchRecorder : IDisposable
{
    /// <summary>Whether kernels can be recorded that have never run.</summary>
    bool RecordsNewKernels { get; }

    /// <summary>To record fewer launches takes longer than is won while a picture is drawn.</summary>
    int LeastLaunches { get; }

    /// <param name="launches">
    /// Launches on the stream that it is given. It must neither allocate nor wait, and its kernels must have run before, but where
    /// <see cref="RecordsNewKernels"/>.
    /// </param>
    /// <returns>Null where the driver cannot record launches.</returns>
    IRecordedLaunches? Record(Action<AcceleratorStream> launches);
}

/// <summary>Launches with their arguments, memory included: they must not run when that has been freed.</summary>
internal interface IRecordedLaunches : IDisposable
{
    /// <summary>Launches them in their order.</summary>
    /// <param name="stream">Where they run.</param>
    /// <param name="cancellationToken">Stops them between two, where the device can do that.</param>
    void Launch(AcceleratorStream stream, CancellationToken cancellationToken);
}
