using System.Runtime.InteropServices;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;

namespace StableDiffusion.Ilgpu.Devices;

/// <summary>
/// Records launches as CUDA graphs. A launch by itself takes the processor about 4.5 us, and the GPU some time before it begins with it; a graph is one
/// call, and the GPU knows what follows.
/// </summary>
internal sealed unsafe class CudaGraphs : ILaunchRecorder
{
    /// <summary>CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads ask of the driver meanwhile (loading weights, freeing) is no mistake.</summary>
    private const int ThreadLocal = 1;

    private readonly CudaAccelerator accelerator;

    /// <summary>
    /// The default stream cannot be recorded, but it can launch what was recorded on another. This one does not wait for it, nor does it for
    /// this one: what others do there meanwhile is not disturbed.
    /// </summary>
    private readonly CudaStream stream;

    private readonly delegate* unmanaged<nint, int, int> beginCapture;
    private readonly delegate* unmanaged<nint, nint*, int> endCapture;
    private readonly delegate* unmanaged<nint*, nint, ulong, int> instantiate;
    private readonly delegate* unmanaged<nint, nint, int> launch;
    private readonly delegate* unmanaged<nint, int> destroyGraph;
    private readonly delegate* unmanaged<nint, int> destroyExecutable;
    private bool unavailable;

    public CudaGraphs(CudaAccelerator accelerator)
    {
        this.accelerator = accelerator;
        stream = accelerator.CreateStream(StreamFlags.CU_STREAM_NON_BLOCKING);
        var library = NativeLibrary.Load(GpuProbe.CudaName);
        beginCapture = (delegate* unmanaged<nint, int, int>)Find("cuStreamBeginCapture_v2");
        endCapture = (delegate* unmanaged<nint, nint*, int>)Find("cuStreamEndCapture");
        instantiate = (delegate* unmanaged<nint*, nint, ulong, int>)Find("cuGraphInstantiateWithFlags");
        launch = (delegate* unmanaged<nint, nint, int>)Find("cuGraphLaunch");
        destroyGraph = (delegate* unmanaged<nint, int>)Find("cuGraphDestroy");
        destroyExecutable = (delegate* unmanaged<nint, int>)Find("cuGraphExecDestroy");

        nint Find(string name)
        {
            var found = NativeLibrary.TryGetExport(library, name, out var function);

            // A driver from before CUDA 11.4.
            unavailable |= !found;
            return function;
        }
    }

    /// <summary>A driver loads some kernels when they are first launched, which it cannot do while it records.</summary>
    public bool RecordsNewKernels => false;

    public int LeastLaunches => 16;

    /// <summary>Launches that a driver once could not record are not tried again: they run one by one as well.</summary>
    public IRecordedLaunches? Record(Action<AcceleratorStream> launches)
    {
        accelerator.Bind();
        if (unavailable || beginCapture(stream.StreamPtr, ThreadLocal) != 0)
        {
            unavailable = true;
            return null;
        }

        nint graph = 0;
        nint executable = 0;
        try
        {
            launches(stream);
        }
        catch (AcceleratorException)
        {
            unavailable = true;
        }
        finally
        {
            // In any case: a stream that is left recording takes nothing else.
            unavailable |= endCapture(stream.StreamPtr, &graph) != 0;
        }

        unavailable = unavailable || instantiate(&executable, graph, 0) != 0;
        if (graph != 0)
        {
            _ = destroyGraph(graph);
        }

        return unavailable ? null : new Recorded(this, executable);
    }

    public void Dispose()
    {
        accelerator.Bind();
        stream.Dispose();
    }

    private sealed class Recorded(CudaGraphs graphs, nint executable) : IRecordedLaunches
    {
        private nint executable = executable;

        public void Launch(AcceleratorStream stream, CancellationToken cancellationToken)
        {
            var accelerator = graphs.accelerator;
            accelerator.Bind();
            var status = graphs.launch(executable, ((CudaStream)stream).StreamPtr);
            if (status != 0)
            {
                // A mistake of an earlier kernel is told here too.
                throw new StableDiffusionException($"{accelerator.Name}: its driver cannot launch recorded kernels: {(CudaError)status}");
            }
        }

        /// <summary>The driver lets a graph that is running come to its end.</summary>
        public void Dispose()
        {
            if (executable != 0)
            {
                DeviceSession.Release(graphs.accelerator.Bind);
                _ = graphs.destroyExecutable(executable);
                executable = 0;
            }
        }
    }
}
