using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Weights;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>The ways that weights take to the device all lead to the same bits.</summary>
[Collection(SharedDevice.Name)]
public sealed class WeightStoreTests(DeviceFixture fixture)
{
    [Fact]
    public void Read_in_parts_or_whole_straight_or_by_way_of_host_memory_is_the_same()
    {
        foreach (var name in TinyModels.Names)
        {
            using var model = TinyModels.Load(name);
            foreach (var (part, graph) in new[]
            {
                (ModelPart.TextEncoder, model.RecordText(1)), (ModelPart.UNet, model.RecordUNet(1, 8, 8)), (ModelPart.Vae, model.RecordDecoder(8, 8)),
            })
            {
                FusionRules.Apply(graph, FusionOptions.All);
                Compare<ushort>(graph, () => model.OpenWeights(part));
                Compare<float>(graph, () => model.OpenWeights(part));
            }
        }
    }

    private void Compare<T>(Graph graph, Func<IWeightSource> open) where T : unmanaged
    {
        var expected = Load<T>(graph, new WholeOnly(open()), staged: false, threads: 1);
        Assert.NotEmpty(expected);
        Assert.Equal(expected, Load<T>(graph, new WholeOnly(open()), staged: true, threads: 3));
        Assert.Equal(expected, Load<T>(graph, open(), staged: false, threads: 3));
        Assert.Equal(expected, Load<T>(graph, open(), staged: true, threads: 3));
    }

    private Dictionary<string, T[]> Load<T>(Graph graph, IWeightSource source, bool staged, int threads) where T : unmanaged
    {
        using var store = new WeightStore<T>(fixture.Device, source) { IsStaged = staged };
        var ops = graph.Values.Select(v => v.Op).ToArray();
        store.Prepare(ops, threads);
        var loaded = new Dictionary<string, T[]>();
        foreach (var op in ops.OfType<Contraction>())
        {
            loaded[op.Kernel.Name] = Read(store.Panels(op));
        }

        foreach (var op in ops.OfType<TokenEmbedding>())
        {
            loaded[op.Tokens.Name] = Read(store.Table(op.Tokens));
        }

        return loaded;
    }

    private T[] Read<T>(ArrayView<T> view) where T : unmanaged
    {
        var values = new T[view.Length];
        view.CopyToCPU(fixture.Device.Stream, values);
        fixture.Device.Stream.Synchronize();
        return values;
    }

    /// <summary>A source that only gives whole tensors.</summary>
    private sealed class WholeOnly(IWeightSource inner) : IWeightSource
    {
        public string Description => inner.Description;

        public IReadOnlyDictionary<string, TensorInfo> Tensors => inner.Tensors;

        public void Read(string name, Span<float> destination) => inner.Read(name, destination);

        public void Read(string name, Span<ushort> destination) => inner.Read(name, destination);

        public void Dispose() => inner.Dispose();
    }
}
