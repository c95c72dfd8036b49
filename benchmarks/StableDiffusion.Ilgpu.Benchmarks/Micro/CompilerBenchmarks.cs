using BenchmarkDotNet.Attributes;
using StableDiffusion.Ilgpu.Benchmarks.Serving;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Benchmarks.Micro;

/// <summary>What happens on the host before the first launch, for SD 1.5's UNet at 512x512.</summary>
public class CompilerBenchmarks
{
    private const int Latent = 64;

    private readonly LoadedModel model = LoadedModel.Open(BenchmarkModel.SourceOf("sd15"));
    private readonly Placement placement;

    /// <summary>Records and fuses the graph once.</summary>
    public CompilerBenchmarks() => placement = Placement.Create(Fused(), FusionOptions.All);

    /// <summary>Closes the model.</summary>
    [GlobalCleanup]
    public void Close() => model.Dispose();

    /// <summary>Records the model and applies all rules.</summary>
    [Benchmark]
    public object RecordAndFuse() => Fused();

    /// <summary>Gives every buffer its offset.</summary>
    [Benchmark]
    public object PlanMemory() => ArenaPlan.Create(placement, sizeof(ushort));

    private Graph Fused()
    {
        var graph = model.RecordUNet(BenchmarkInputs.Items, Latent, Latent);
        FusionRules.Apply(graph, FusionOptions.All);
        return graph;
    }
}
