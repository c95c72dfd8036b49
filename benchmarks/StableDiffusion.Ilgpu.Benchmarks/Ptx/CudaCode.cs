using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Kernels.Attention;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu.Benchmarks.Ptx;

/// <summary>The CUDA backend's kernels, and which of them a model's launches take, found without a GPU.</summary>
internal sealed class CudaCode : IDisposable
{
    /// <summary>The autoencoder's.</summary>
    private const int LargestHead = 512;

    private const int FewQueries = 16;
    private const int ManyQueries = 4096;

    private readonly PtxLoader loader;
    private readonly DeviceSession session = DeviceSession.OpenCpu(1);

    /// <param name="architecture">As NVIDIA names it, for example <c>sm_90</c>.</param>
    /// <exception cref="StableDiffusionException">ILGPU does not know it.</exception>
    public CudaCode(string architecture)
    {
        loader = new PtxLoader(architecture);
        Architecture = architecture;
    }

    public string Architecture { get; }

    /// <summary>Whether its contractions use <c>wgmma</c>.</summary>
    public bool HasWarpgroups => Architecture.StartsWith("sm_90", StringComparison.Ordinal);

    private TensorCores? Cores => TensorCores.Of(loader.Architecture, "NVIDIA GeForce RTX", HasWarpgroups);

    /// <summary>For kernels that are not the backend's.</summary>
    public IKernelLoader Loader => loader;

    public IReadOnlyCollection<PtxKernel> Kernels => loader.Kernels;

    /// <summary>Before compute capability 7.5 the kernels of any GPU.</summary>
    public bool HasTensorCode => Cores is not null;

    /// <summary>Compiles every kernel that the set has whatever the sizes, and attention for every size of heads.</summary>
    public void CompileSet()
    {
        var kernels = Set(1);
        for (var size = 8; size <= LargestHead; size += 8)
        {
            foreach (var (queries, causal) in new[] { (FewQueries, 0), (ManyQueries, 0), (FewQueries, 1) })
            {
                kernels.AttentionFor(new AttentionArguments<ushort>
                {
                    Items = 1,
                    Heads = 1,
                    HeadSize = size,
                    Queries = queries,
                    Keys = queries,
                    Causal = causal,
                    QueryPitch = size,
                    KeyPitch = size,
                    ValuePitch = size,
                    TargetPitch = size,
                });
            }
        }

        kernels.CompileAll();
    }

    /// <summary>
    /// Compiles what a graph's launches take on a device of so many multiprocessors, and lists the launches. Weights are not read, and nothing
    /// is computed.
    /// </summary>
    /// <param name="graph">Is fused.</param>
    /// <param name="multiprocessors">Of the device.</param>
    public IReadOnlyList<CudaLaunch> Launches(Graph graph, int multiprocessors)
    {
        using var workspace = new Workspace<ushort>(session);
        using var weights = new WeightStore<ushort>(session, new NoWeights());
        var (placement, arena) = Plan(graph, weights);
        var builder = new LaunchBuilder<ushort>(FusionOptions.All, Set(multiprocessors), weights, placement, arena);
        var found = new List<CudaLaunch>();
        foreach (var rate in Enum.GetValues<Rate>())
        {
            var launches = placement.Launches(rate).SelectMany(builder.Build).ToArray();
            workspace.Reserve(builder.Needs.Or(new(arena.Bytes)));
            foreach (var launch in launches)
            {
                loader.Launched = (kernel, shape) => found.Add(new CudaLaunch(
                    rate, launch, kernel, shape.GridDim.Size, shape.GroupDim.Size));
                launch.Run(new LaunchContext<ushort>
                {
                    Stream = session.Stream,
                    Arena = workspace.Arena,
                    Scratch = workspace.Scratch,
                    Moments = workspace.Moments,
                    Counter = workspace.Counters.SubView(0, 1),
                });
            }
        }

        loader.Launched = null;
        return found;
    }

    private KernelSet<ushort> Set(int multiprocessors) => Cores is { } cores ? new CudaKernels(loader, multiprocessors, cores)
        : BackendProfile.CudaGpuKernels(loader, loader.Architecture, multiprocessors);

    /// <summary>What compiling a graph decides before its launches are bound; its weights get memory and no values.</summary>
    private static (Placement Placement, ArenaPlan Arena) Plan(Graph graph, WeightStore<ushort> weights)
    {
        FusionRules.Apply(graph, FusionOptions.All);
        weights.Reserve(graph.Values.Select(v => v.Op));
        var placement = Placement.Create(graph, FusionOptions.All);
        return (placement, ArenaPlan.Create(placement, sizeof(ushort)));
    }

    /// <summary>
    /// Bytes that weights, arena and scratch memory of a generation's graphs take on a device of so many multiprocessors: all graphs side by
    /// side, and one at a time. Not counted are latents, the schedule's table and what a picture is read from, some megabytes at most.
    /// </summary>
    public (long Together, long InTurns) GenerationBytes(IEnumerable<Graph> graphs, int multiprocessors)
    {
        var (all, largest) = (0L, 0L);
        using var shared = new Workspace<ushort>(session);
        foreach (var graph in graphs)
        {
            using var own = new Workspace<ushort>(session);
            using var weights = new WeightStore<ushort>(session, new NoWeights());
            var (placement, arena) = Plan(graph, weights);
            var builder = new LaunchBuilder<ushort>(FusionOptions.All, Set(multiprocessors), weights, placement, arena);
            var launches = Enum.GetValues<Rate>().Max(rate => placement.Launches(rate).SelectMany(builder.Build).Count());
            var needs = builder.Needs.Or(new(arena.Bytes, Launches: launches));
            own.Reserve(needs);
            shared.Reserve(needs);

            (all, largest) = (all + weights.Bytes, Math.Max(largest, weights.Bytes + Bytes(own)));
        }

        return (all + Bytes(shared), largest);

        static long Bytes(Workspace<ushort> workspace) => workspace.Arena.LengthInBytes + workspace.Scratch.LengthInBytes
            + workspace.Moments.LengthInBytes + workspace.Counters.LengthInBytes;
    }

    public void Dispose()
    {
        session.Dispose();
        loader.Dispose();
    }

    private sealed class NoWeights : IWeightSource
    {
        public string Description => "no weights";

        public IReadOnlyDictionary<string, TensorInfo> Tensors { get; } = new Dictionary<string, TensorInfo>();

        public void Read(string name, Span<float> destination) => throw new NotSupportedException();

        public void Read(string name, Span<ushort> destination) => throw new NotSupportedException();

        public void Dispose()
        {
        }
    }
}

/// <summary>A launch of the CUDA backend. One that a graph asks for may be several of a device's.</summary>
/// <param name="Rate">When it runs.</param>
/// <param name="Asked">What the graph asks for.</param>
/// <param name="Kernel">The kernel that runs.</param>
/// <param name="Groups">Groups of its grid.</param>
/// <param name="GroupSize">Work-items of each.</param>
internal sealed record CudaLaunch(Rate Rate, Launch<ushort> Asked, PtxKernel Kernel, long Groups, long GroupSize)
{
    /// <summary>
    /// The part of the operations that runs on tensor cores. Where several launches do what a graph asks for as one, and one of them has
    /// tensor cores' instructions, all its operations count.
    /// </summary>
    public static double TensorShare(IReadOnlyCollection<CudaLaunch> launches) =>
        launches.Where(l => l.Kernel.HasTensorCode).DistinctBy(l => l.Asked).Sum(l => l.Asked.Flops)
        / launches.DistinctBy(l => l.Asked).Sum(l => l.Asked.Flops);
}
