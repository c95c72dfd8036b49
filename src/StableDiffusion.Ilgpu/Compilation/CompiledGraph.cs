using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Kernels.Pointwise;

namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>
/// A graph ready to run: one program for each rate at which its values change. Inputs are written, programs run (Prompt, Schedule, Step) and
/// outputs read; between them the arena must not be used by another graph.
/// </summary>
internal sealed class CompiledGraph<T> : IDisposable where T : unmanaged
{
    private readonly DeviceSession device;
    private readonly Workspace<T> workspace;
    private readonly WorkspaceNeeds needs;
    private readonly Placement placement;
    private readonly ArenaPlan arena;
    private readonly Dictionary<string, Value> inputs;

    private CompiledGraph(
        Graph graph, DeviceSession device, KernelSet<T> kernels, Workspace<T> workspace, Placement placement, ArenaPlan arena, LaunchBuilder<T> builder)
    {
        (this.device, this.workspace, this.placement, this.arena) = (device, workspace, placement, arena);
        Graph = graph;
        inputs = graph.Inputs.ToDictionary(i => ((Input)i.Op).Key);
        Prompt = Program(Rate.Prompt);
        Schedule = Program(Rate.Schedule);
        Step = Program(Rate.Step);
        needs = builder.Needs.Or(new(arena.Bytes, Launches: Programs.Max(p => p.Launches.Count)));
        Reserve();

        ComputeProgram<T> Program(Rate rate)
        {
            Launch<T>[] launches = [.. placement.Launches(rate).SelectMany(builder.Build)];
#pragma warning disable CA1308 // Programs' names are small letters.
            return new ComputeProgram<T>($"{graph.Name}.{rate.ToString().ToLowerInvariant()}", launches, device, workspace, kernels.CountsTiles);
#pragma warning restore CA1308
        }
    }

    /// <summary>Fuses the graph in place, plans its memory, loads the weights it needs and binds its launches.</summary>
    public static CompiledGraph<T> Compile(
        Graph graph, FusionOptions fusion, DeviceSession device, KernelSet<T> kernels, WeightStore<T> weights, Workspace<T> workspace,
        CancellationToken cancellationToken = default)
    {
        FusionRules.Apply(graph, fusion);
        weights.Prepare(graph.Values.Select(v => v.Op), Environment.ProcessorCount, cancellationToken);
        var placement = Placement.Create(graph, fusion);
        var arena = ArenaPlan.Create(placement, Unsafe.SizeOf<T>());
        return new(graph, device, kernels, workspace, placement, arena, new LaunchBuilder<T>(fusion, kernels, weights, placement, arena));
    }

    /// <summary>Bytes of arena that a graph would need, found without a device; the graph is fused in place.</summary>
    public static long MeasureArena(Graph graph, FusionOptions fusion)
    {
        FusionRules.Apply(graph, fusion);
        return ArenaPlan.Create(Placement.Create(graph, fusion), Unsafe.SizeOf<T>()).Bytes;
    }

    /// <summary>Bytes that a graph's weights take on a device, but for what fills up panels and cache lines.</summary>
    public static long MeasureWeights(Graph graph) => graph.Weights.Sum(w => w.Shape.Aggregate(1L, (a, b) => a * b)) * Unsafe.SizeOf<T>();

    public Graph Graph { get; }

    public ComputeProgram<T> Prompt { get; }

    public ComputeProgram<T> Schedule { get; }

    public ComputeProgram<T> Step { get; }

    public IEnumerable<ComputeProgram<T>> Programs => [Prompt, Schedule, Step];

    /// <summary>Bytes of the arena that this graph uses.</summary>
    public long ArenaBytes => arena.Bytes;

    /// <summary>Has the workspace make room for the programs when one runs next. Compiling does so, but the workspace may have been cleared since.</summary>
    public void Reserve() => workspace.Reserve(needs);

    /// <summary>Writes an input of activations, channels last.</summary>
    public void Write(string key, ReadOnlySpan<float> values)
    {
        var input = Checked(key, values.Length);
        if (input.Type == ElementType.Float32)
        {
            Copy(values, Memory<float>(input));
            return;
        }

        var stored = new T[values.Length];
        Stored.Narrow(values, stored);
        Copy<T>(stored, Memory<T>(input));
    }

    /// <summary>Has the device copy an input of single precision from its own memory.</summary>
    public void Write(string key, ArrayView<float> values) => values.CopyTo(device.Stream, Memory<float>(Checked(key, (int)values.Length)));

    /// <summary>Writes token ids.</summary>
    public void Write(string key, ReadOnlySpan<int> values) => Copy(values, Memory<int>(Checked(key, values.Length)));

    /// <summary>Sets every input to zero: for runs that are only timed.</summary>
    public void ClearInputs()
    {
        foreach (var (key, input) in inputs)
        {
            if (input.Type == ElementType.Int32)
            {
                Write(key, new int[input.Shape.Count]);
            }
            else
            {
                Write(key, new float[input.Shape.Count]);
            }
        }
    }

    /// <summary>Reads an output, channels last.</summary>
    public float[] Read(string key)
    {
        var output = Graph.Outputs[key];
        var place = placement[output];
        var stored = new T[output.Shape.Rows * place.RowPitch];
        var first = (arena.OffsetOf(place.Root) / Unsafe.SizeOf<T>()) + place.ElementOffset;
        var available = Math.Min(stored.Length, workspace.Arena.Length - first);
        workspace.Arena.SubView(first, available).CopyToCPU(device.Stream, stored.AsSpan(0, (int)available));
        device.Stream.Synchronize();
        var values = new float[output.Shape.Count];
        for (var row = 0; row < output.Shape.Rows; row++)
        {
            Stored.Widen<T>(stored.AsSpan(row * place.RowPitch, output.C), values.AsSpan(row * output.C));
        }

        return values;
    }

    /// <summary>Reads an output of -1 … 1 as bytes 0 … 255, channels last.</summary>
    public byte[] ReadBytes(string key, KernelSet<T> kernels)
    {
        var bytes = new byte[Graph.Outputs[key].Shape.Count];
        using var buffer = device.Allocate<byte>(bytes.Length);
        var arguments = new ConversionArguments<T> { Arena = workspace.Arena, Bytes = buffer.View, Offset = OffsetOf(key), Count = bytes.Length };
        kernels.ToBytes(device.Stream, arguments, workspace.Scratch, workspace.FreshCounter(device.Stream));
        buffer.View.SubView(0, bytes.Length).CopyToCPU(device.Stream, bytes);
        device.Stream.Synchronize();
        return bytes;
    }

    /// <summary>Where an input or a dense output lies, in elements of T from the arena's start.</summary>
    public long OffsetOf(string key)
    {
        var place = placement[inputs.TryGetValue(key, out var input) ? input : Graph.Outputs[key]];
        return (arena.OffsetOf(place.Root) / Unsafe.SizeOf<T>()) + place.ElementOffset;
    }

    /// <summary>Channels of an input.</summary>
    public int InputChannels(string key) => inputs[key].C;

    /// <summary>What the schedule's program left for the step's: a part of the arena that can be kept for each timestep and put back.</summary>
    public ArrayView<T> ScheduleResults => workspace.Arena.SubView(
        arena.Snapshot.Offset / Unsafe.SizeOf<T>(), arena.Snapshot.Length / Unsafe.SizeOf<T>());

    /// <summary>Frees what the programs keep on the device. The arena is the workspace's, and weights are their store's.</summary>
    public void Dispose()
    {
        foreach (var program in Programs)
        {
            program.Dispose();
        }
    }

    private Value Checked(string key, int count)
    {
        var input = inputs[key];
        return input.Shape.Count == count ? input : throw new InvalidOperationException($"{Graph.Name}: {key} has {input.Shape}, not {count} values");
    }

    private ArrayView<TElement> Memory<TElement>(Value input) where TElement : unmanaged =>
        workspace.Arena.Cast<TElement>().SubView(arena.OffsetOf(placement[input].Root) / Unsafe.SizeOf<TElement>(), input.Shape.Count);

    private void Copy<TElement>(ReadOnlySpan<TElement> values, ArrayView<TElement> target) where TElement : unmanaged
    {
        target.CopyFromCPU(device.Stream, values);
        device.Stream.Synchronize();
    }
}
