using System.Diagnostics;
using StableDiffusion.Ilgpu.Benchmarks.Serving;
using StableDiffusion.Ilgpu.Weights;
using TorchSharp;

namespace StableDiffusion.Ilgpu.Peers.Torch;

/// <summary>UNet and decoder of a synthetic model, computed by libtorch in fp32.</summary>
internal sealed class TorchModel : IServedModel, IDisposable
{
    private readonly MemoryLayout layout;
    private readonly Dictionary<Work, TorchGraph> graphs = [];

    private TorchModel(LoadedModel model, int latent, MemoryLayout layout)
    {
        this.layout = layout;
        using (var weights = model.OpenWeights(ModelPart.UNet))
        {
            graphs[Work.UNetStep] = new TorchGraph(model.RecordUNet(BenchmarkInputs.Items, latent, latent), weights, layout);
        }

        using (var weights = model.OpenWeights(ModelPart.Vae))
        {
            graphs[Work.VaeDecode] = new TorchGraph(model.RecordDecoder(latent, latent), weights, layout);
        }
    }

    public string About
    {
        get
        {
            var version = typeof(torch).Assembly.GetName().Version!.ToString(3);
            var order = layout == MemoryLayout.ChannelsLast ? "channels-last" : "default layout";
            return $"libtorch {torch.__version__} through TorchSharp {version}, fp32, {order}, {torch.get_num_threads()} threads";
        }
    }

    public static TorchModel Open(string name, int size, int threads, MemoryLayout layout)
    {
        torch.set_num_threads(threads);
        GenerationRequest.CheckSize("size", size);
        using var model = LoadedModel.Open(SyntheticModel.Prefix + name);
        return new TorchModel(model, size / model.VaeConfig.PixelsPerLatent, layout);
    }

    public double? Gflop(Work work) => null;

    /// <summary>libtorch on the processor has computed when a call returns: nothing is left to wait for.</summary>
    public double Run(Work work)
    {
        var start = Stopwatch.GetTimestamp();
        graphs[work].Run();
        return Stopwatch.GetElapsedTime(start).TotalMilliseconds;
    }

    public float[] Output(Work work) => graphs[work].Output();

    public void Dispose()
    {
        foreach (var graph in graphs.Values)
        {
            graph.Dispose();
        }
    }
}
