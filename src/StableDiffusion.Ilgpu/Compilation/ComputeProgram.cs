using System.Diagnostics;
using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>What a launch is given when it runs.</summary>
internal readonly ref struct LaunchContext<T> where T : unmanaged
{
    public required AcceleratorStream Stream { get; init; }
    public required ArrayView<T> Arena { get; init; }
    public required ArrayView<float> Scratch { get; init; }
    public required ArrayView<float> Moments { get; init; }
    public required ArrayView<int> Counter { get; init; }
}

internal delegate void LaunchAction<T>(LaunchContext<T> context) where T : unmanaged;

/// <summary>One kernel launch with everything bound but the memory that the workspace owns.</summary>
/// <param name="Value">The value it computes, or works towards.</param>
/// <param name="Kernel">The kernel and its tiling, for people to read.</param>
/// <param name="Offset">Where the value starts in the arena, in bytes.</param>
/// <param name="Flops">Multiplications and additions.</param>
/// <param name="Run">Launches it.</param>
internal sealed record Launch<T>(Value Value, string Kernel, long Offset, double Flops, LaunchAction<T> Run) where T : unmanaged
{
    /// <summary>Of the last timed run.</summary>
    public double? Milliseconds { get; set; }
}

/// <summary>A list of launches that is replayed as it stands; nothing is allocated while it runs.</summary>
/// <param name="name">For people to read.</param>
/// <param name="launches">In the order in which they run.</param>
/// <param name="device">Where they run.</param>
/// <param name="workspace">Their memory.</param>
/// <param name="countsTiles">Whether they need their counters.</param>
internal sealed class ComputeProgram<T>(
    string name, IReadOnlyList<Launch<T>> launches, DeviceSession device, Workspace<T> workspace, bool countsTiles) : IDisposable where T : unmanaged
{
    private bool hasRun;
    private IRecordedLaunches? recorded;
    private int recordedWith;

    public string Name => name;

    public IReadOnlyList<Launch<T>> Launches => launches;

    /// <param name="timed">Waits for each launch and notes its time.</param>
    /// <param name="cancellationToken">Stops between two launches; a GPU begins recorded ones together or not at all.</param>
    public void Run(bool timed = false, CancellationToken cancellationToken = default)
    {
        if (launches.Count == 0)
        {
            return;
        }

        if (!timed && Recorded() is { } all)
        {
            cancellationToken.ThrowIfCancellationRequested();
            all.Launch(device.Stream, cancellationToken);
            return;
        }

        Run(device.Stream, timed, cancellationToken);
        hasRun = true;
    }

    public IEnumerable<PlanRow> Rows(int elementBytes) => launches.Select(l => new PlanRow(
        name, l.Value.Path, l.Value.Op.Name, l.Value.Shape.ToString(), l.Kernel, l.Offset, l.Value.Shape.Count * elementBytes, l.Milliseconds));

    public void Dispose()
    {
        recorded?.Dispose();
        recorded = null;
    }

    /// <summary>
    /// The launches as a whole; where kernels must have run before, from the second run on. Memory that has been allocated anew since makes another recording necessary.
    /// </summary>
    private IRecordedLaunches? Recorded()
    {
        if (device.Recorder is not { } recorder || launches.Count < recorder.LeastLaunches || !(hasRun || recorder.RecordsNewKernels))
        {
            return null;
        }

        // Nothing may be allocated while launches are recorded.
        workspace.Allocate();
        if (recorded is null || recordedWith != workspace.Allocations)
        {
            recorded?.Dispose();
            recorded = recorder.Record(stream => Run(stream, timed: false, CancellationToken.None));
            recordedWith = workspace.Allocations;
        }

        return recorded;
    }

    private void Run(AcceleratorStream stream, bool timed, CancellationToken cancellationToken)
    {
        var (arena, scratch, moments, counters) = (workspace.Arena, workspace.Scratch, workspace.Moments, workspace.Counters);
        if (countsTiles)
        {
            counters.SubView(0, launches.Count).MemSetToZero(stream);
        }

        for (var i = 0; i < launches.Count; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var start = Stopwatch.GetTimestamp();
            launches[i].Run(new LaunchContext<T>
            {
                Stream = stream,
                Arena = arena,
                Scratch = scratch,
                Moments = moments,
                Counter = counters.SubView(i, 1),
            });
            if (timed)
            {
                stream.Synchronize();
                launches[i].Milliseconds = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
            }
        }
    }
}
