using System.Diagnostics;
using StableDiffusion.Ilgpu.Benchmarks.Serving;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary>UNet and decoder of a synthetic model in full size, compiled as the pipeline compiles them, without the pipeline.</summary>
internal sealed class BenchmarkModel : IDisposable
{
    private readonly LoadedModel model;
    private readonly KernelSet<ushort> kernels;
    private readonly WeightStore<ushort> unetWeights;
    private readonly WeightStore<ushort> decoderWeights;

    private BenchmarkModel(string name, int size, ComputeDevice device, int pictures, int? cores)
    {
        Pictures = pictures;
        model = LoadedModel.Open(SourceOf(name));
        Session = cores is { } count ? DeviceSession.OpenCpu(count) : BackendProfile.Open(device);
        var kernels = BackendProfile.HalfKernels(Session, BackendProfile.LeafOf(device), new KernelCache(KernelFolder));
        kernels.Warm(CancellationToken.None);
        this.kernels = kernels;
        Workspace = new Workspace<ushort>(Session);
        unetWeights = new WeightStore<ushort>(Session, model.OpenWeights(ModelPart.UNet));
        decoderWeights = new WeightStore<ushort>(Session, model.OpenWeights(ModelPart.Vae));
        var latent = size / model.VaeConfig.PixelsPerLatent;
        UNet = Compile(model.RecordUNet(Items, latent, latent), unetWeights);
        Decoder = Compile(model.RecordDecoder(latent, latent), decoderWeights);

        CompiledGraph<ushort> Compile(Graphs.Graph graph, WeightStore<ushort> weights) =>
            CompiledGraph<ushort>.Compile(graph, FusionOptions.All, Session, kernels, weights, Workspace);
    }

    /// <summary>Where a GPU's compiled kernels are kept: processes that measure one after the other need not compile the same.</summary>
    public static string KernelFolder => Path.Combine(Path.GetTempPath(), "sdilgpu-benchmark-kernels");

    public DeviceSession Session { get; }

    /// <summary>Pictures that are drawn at a time.</summary>
    public int Pictures { get; }

    /// <summary>Batch items of a UNet step.</summary>
    public int Items => BenchmarkInputs.Items * Pictures;

    public Workspace<ushort> Workspace { get; }

    public CompiledGraph<ushort> UNet { get; }

    public CompiledGraph<ushort> Decoder { get; }

    /// <summary>What the library calls the synthetic model of a name.</summary>
    public static string SourceOf(string name) => SyntheticModel.Prefix + name;

    /// <param name="name">For example <c>sd15</c>.</param>
    /// <param name="size">Width and height of the picture in pixels.</param>
    /// <param name="device">Where it runs.</param>
    /// <param name="pictures">Pictures that are drawn at a time.</param>
    /// <param name="cores">Of the processor; all of them where it is null.</param>
    /// <exception cref="StableDiffusionException">The name, the size or the device cannot be used.</exception>
    public static BenchmarkModel Open(string name, int size, ComputeDevice device, int pictures = 1, int? cores = null)
    {
        GenerationRequest.CheckSize("size", size);
        return new BenchmarkModel(name, size, device, pictures, cores);
    }

    /// <summary>Fills the UNet's inputs and runs what comes before its step, which then can be run again and again.</summary>
    public ComputeProgram<ushort> PrepareStep()
    {
        Write(UNet);
        UNet.Prompt.Run();
        UNet.Schedule.Run();
        return UNet.Step;
    }

    /// <summary>A sampler's steps without the UNet, asked of the device one step ahead as the pipeline does.</summary>
    public SamplerTiming TimeSampler(Sampler sampler, int steps)
    {
        var sample = UNet.Graph.Inputs.Single(i => i.Path == "sample").Shape;
        var (channels, pixels) = (model.VaeConfig.LatentChannels, sample.H * sample.W);
        var noise = new BatchNoise(NoiseGenerator.Cuda, 42, Pictures, channels * pixels);
        var plan = sampler.Plan(model.Schedule, steps, Scheduler.Discrete);
        PrepareStep();
        using var schedule = new ScheduleTable<ushort>(Session, UNet, "timestep", [.. plan.Steps.Select(s => s.Timestep)]);
        using var latent = new LatentState<ushort>(Session, kernels, Workspace, noise.Draw(), channels);
        using var queue = new StepQueue(Session);
        List<float[]> draws = [];
        List<double> drawing = [];
        foreach (var step in plan.Steps)
        {
            var start = Stopwatch.GetTimestamp();
            draws.Add(step.DrawsNoise || step.Noise != 0 ? Layout.ToChannelsLast(noise.Draw(), channels, pixels) : []);
            drawing.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
        }

        // The first time pays for first calls.
        Walk();
        var begin = Stopwatch.GetTimestamp();
        Walk();
        return new(Median.Of([.. drawing]), Stopwatch.GetElapsedTime(begin).TotalMilliseconds / steps);

        void Walk()
        {
            foreach (var (i, step) in plan.Steps.Index())
            {
                schedule.Select(i);
                latent.WriteTo(UNet, "sample", BenchmarkInputs.Items, step.InputScale);
                latent.Update(UNet, "out", 7, step, draws[i]);
                queue.Add();
                Wait(queue.Most);
            }

            Wait(0);
        }

        void Wait(int left)
        {
            while (queue.Count > left)
            {
                queue.Wait();
            }
        }
    }

    /// <summary>Fills the decoder's input; its program then can be run again and again.</summary>
    public ComputeProgram<ushort> PrepareDecode()
    {
        Write(Decoder);
        return Decoder.Step;
    }

    public void Dispose()
    {
        UNet.Dispose();
        Decoder.Dispose();
        unetWeights.Dispose();
        decoderWeights.Dispose();
        Workspace.Dispose();
        Session.Dispose();
        model.Dispose();
    }

    private static void Write(CompiledGraph<ushort> graph)
    {
        foreach (var input in graph.Graph.Inputs)
        {
            graph.Write(input.Path, BenchmarkInputs.Of(graph.Graph, input.Path));
        }
    }
}
