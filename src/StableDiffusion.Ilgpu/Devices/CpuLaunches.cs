using System.Reflection;
using ILGPU;
using ILGPU.Backends.EntryPoints;
using ILGPU.Runtime;
using ILGPU.Runtime.CPU;

namespace StableDiffusion.Ilgpu.Devices;

/// <summary>
/// Launches kernels on the threads of ILGPU's CPU accelerator, which runs their .NET methods: what ILGPU's compiler makes of them beforehand
/// is not what runs, and compiling would take half a second before a first picture.
/// <para>
/// A launch costs the accelerator about 0.1 ms, as its threads are woken for it and waited for. Recorded launches are one: their groups go
/// from kernel to kernel together, and meet after each.
/// </para>
/// </summary>
internal sealed class CpuLaunches : ILaunchRecorder
{
    private static readonly MethodInfo? LaunchMethod = typeof(CPUAccelerator).GetMethod(
        "Launch", BindingFlags.Instance | BindingFlags.NonPublic | BindingFlags.Public, [typeof(CPUAcceleratorTask)]);

    private readonly Action<CPUAcceleratorTask> launch;
    private readonly KernelConfig config;

    /// <summary>What is launched on this stream is recorded.</summary>
    private readonly AcceleratorStream stream;

    private List<BoundKernel>? recording;

    private CpuLaunches(CPUAccelerator accelerator, Action<CPUAcceleratorTask> launch)
    {
        this.launch = launch;
        config = new KernelConfig(accelerator.NumMultiprocessors, 1);
        stream = accelerator.CreateStream();
    }

    /// <summary>A kernel that is not there yet is compiled by .NET when it is called.</summary>
    public bool RecordsNewKernels => true;

    public int LeastLaunches => 2;

    /// <summary>
    /// Null where ILGPU has other internals, and where it runs groups one after the other, as it does for a debugger: they could not wait for
    /// each other.
    /// </summary>
    public static CpuLaunches? Create(CPUAccelerator accelerator) =>
        LaunchMethod is null || accelerator.UsesSequentialExecution
            ? null : new(accelerator, LaunchMethod.CreateDelegate<Action<CPUAcceleratorTask>>(accelerator));

    /// <summary>Runs a kernel, one group for each processor, and waits for it; or records it.</summary>
    /// <param name="on">The stream.</param>
    /// <param name="kernel">The kernel.</param>
    /// <param name="arguments">Its arguments.</param>
    /// <param name="scratch">Its scratch memory.</param>
    /// <param name="counter">Zero before the launch; recorded launches see to it themselves.</param>
    public void Launch<TArguments>(
        AcceleratorStream on, Action<TArguments, ArrayView<float>, ArrayView<int>> kernel, in TArguments arguments, ArrayView<float> scratch, ArrayView<int> counter)
        where TArguments : struct
    {
        var bound = new BoundKernel<TArguments>(kernel, arguments, scratch, counter);
        if (on == stream)
        {
            recording!.Add(bound);
        }
        else
        {
            launch(new KernelTask(bound, config));
        }
    }

    public IRecordedLaunches Record(Action<AcceleratorStream> launches)
    {
        recording = [];
        launches(stream);
        var recorded = new Recorded(this, [.. recording]);
        recording = null;
        return recorded;
    }

    public void Dispose() => stream.Dispose();

    /// <summary>A kernel and its arguments.</summary>
    private abstract class BoundKernel
    {
        public abstract void Reset();

        public abstract void Run();
    }

    private sealed class BoundKernel<TArguments>(
        Action<TArguments, ArrayView<float>, ArrayView<int>> kernel, TArguments arguments, ArrayView<float> scratch, ArrayView<int> counter) : BoundKernel
        where TArguments : struct
    {
        public override void Reset() => counter[0] = 0;

        public override void Run() => kernel(arguments, scratch, counter);
    }

    private sealed class KernelTask(BoundKernel kernel, KernelConfig config) : CPUAcceleratorTask(Run, config, new(config, default(SharedMemorySpecification)))
    {
        private readonly BoundKernel kernel = kernel;

        private static void Run(CPUAcceleratorTask task, int index) => ((KernelTask)task).kernel.Run();
    }

    /// <summary>One launch of all kernels.</summary>
    private sealed class ProgramTask(BoundKernel[] kernels, GroupMeeting meeting, KernelConfig config)
        : CPUAcceleratorTask(Run, config, new(config, default(SharedMemorySpecification)))
    {
        private readonly BoundKernel[] kernels = kernels;
        private readonly GroupMeeting meeting = meeting;

        private static void Run(CPUAcceleratorTask task, int index)
        {
            var program = (ProgramTask)task;
            foreach (var kernel in program.kernels)
            {
                kernel.Run();
                if (!program.meeting.Wait())
                {
                    return;
                }
            }
        }
    }

    private sealed class Recorded(CpuLaunches launches, BoundKernel[] kernels) : IRecordedLaunches
    {
        public void Launch(AcceleratorStream stream, CancellationToken cancellationToken)
        {
            foreach (var kernel in kernels)
            {
                kernel.Reset();
            }

            launches.launch(new ProgramTask(kernels, new GroupMeeting(launches.config.GridDim.X, cancellationToken), launches.config));
            cancellationToken.ThrowIfCancellationRequested();
        }

        public void Dispose()
        {
        }
    }
}
