using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu.Benchmarks.Ptx;

/// <summary>The graphs of the models that the CUDA backend is made for, in the sizes that it is measured at.</summary>
internal static class CudaModels
{
    public static IReadOnlyList<string> Names { get; } = ["sd15", "sd21"];

    /// <summary>Multiprocessors of devices from small to large (laptop, A100, H100): tiles are chosen by them.</summary>
    public static IReadOnlyList<int> Multiprocessors { get; } = [20, 46, 82, 108, 132];

    private static readonly int[] Sizes = [512, 768];

    private static readonly int[] Pictures = [1, 8];

    /// <summary>The UNet with guidance, for so many pictures of a size.</summary>
    public static Graph UNet(string name, int size, int pictures)
    {
        using var model = Open(name);
        var latent = size / model.VaeConfig.PixelsPerLatent;
        return model.RecordUNet(2 * pictures, latent, latent);
    }

    /// <summary>What one picture with guidance takes.</summary>
    public static IEnumerable<Graph> Generation(string name, int size)
    {
        using var model = Open(name);
        yield return model.RecordText(2);
        yield return UNet(name, size, 1);
        yield return Decoder(name, size);
    }

    /// <summary>The autoencoder's decoder for one picture of a size.</summary>
    public static Graph Decoder(string name, int size)
    {
        using var model = Open(name);
        var latent = size / model.VaeConfig.PixelsPerLatent;
        return model.RecordDecoder(latent, latent);
    }

    /// <summary>Compiles what any of the models' graphs takes, on devices of all those sizes.</summary>
    public static void Compile(CudaCode code)
    {
        code.CompileSet();
        foreach (var graph in Names.SelectMany(Graphs))
        {
            foreach (var multiprocessors in Multiprocessors)
            {
                code.Launches(graph(), multiprocessors);
            }
        }
    }

    /// <summary>How to record each graph of a model anew: compiling fuses it in place.</summary>
    private static IEnumerable<Func<Graph>> Graphs(string name)
    {
        foreach (var size in Sizes)
        {
            foreach (var pictures in Pictures)
            {
                yield return () => UNet(name, size, pictures);
            }

            yield return () => Decoder(name, size);
            yield return () =>
            {
                using var model = Open(name);
                return model.RecordEncoder(size, size);
            };
        }

        yield return () =>
        {
            using var model = Open(name);
            return model.RecordText(2);
        };
    }

    private static LoadedModel Open(string name) => LoadedModel.Open(SyntheticModel.Prefix + name);
}
