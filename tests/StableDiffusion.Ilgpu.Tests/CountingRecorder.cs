using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Devices;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>Counts what is recorded and launched: by a device's own recorder or, where it has none, by keeping the launches and running them again.</summary>
internal sealed class CountingRecorder : ILaunchRecorder
{
    /// <summary>The device's own; null where it has none.</summary>
    public ILaunchRecorder? Inner { get; set; }

    public int Recorded { get; private set; }

    public int Launched { get; private set; }

    /// <summary>Recorded and not yet disposed.</summary>
    public int Alive { get; private set; }

    /// <summary>As a driver that cannot record.</summary>
    public bool Refuses { get; init; }

    /// <summary>As with CUDA, on any device.</summary>
    public bool RecordsNewKernels => false;

    public int LeastLaunches => 16;

    public IRecordedLaunches? Record(Action<AcceleratorStream> launches)
    {
        if (Refuses || (Inner is null ? new Kept(launches) : Inner.Record(launches)) is not { } recorded)
        {
            return null;
        }

        (Recorded, Alive) = (Recorded + 1, Alive + 1);
        return new Counted(this, recorded);
    }

    public void Dispose() => Inner?.Dispose();

    private sealed class Kept(Action<AcceleratorStream> launches) : IRecordedLaunches
    {
        public void Launch(AcceleratorStream stream, CancellationToken cancellationToken) => launches(stream);

        public void Dispose()
        {
        }
    }

    private sealed class Counted(CountingRecorder counts, IRecordedLaunches recorded) : IRecordedLaunches
    {
        public void Launch(AcceleratorStream stream, CancellationToken cancellationToken)
        {
            counts.Launched++;
            recorded.Launch(stream, cancellationToken);
        }

        public void Dispose()
        {
            counts.Alive--;
            recorded.Dispose();
        }
    }
}
