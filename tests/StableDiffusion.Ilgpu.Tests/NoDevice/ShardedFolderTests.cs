using System.Text.Json;
using StableDiffusion.Ilgpu.Tests.Samples;
using StableDiffusion.Ilgpu.Weights;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Whole folders in diffusers' layout whose components are PyTorch's files in shards with an index.</summary>
public sealed class ShardedFolderTests : IDisposable
{
    private const int Shards = 3;

    private readonly TemporaryFolder folder = new();

    public static TheoryData<string> Models => [.. TinyModels.Names];

    [Theory]
    [Trait("Kind", "Reference")]
    [MemberData(nameof(Models))]
    public void Every_tensor_is_that_of_the_whole_file(string name)
    {
        var from = ReferenceData.PathOf(name);
        TemporaryFolder.Copy(
            from, folder.Path,
            f => Path.GetExtension(f) is ".json" or ".txt" && !f.Contains("reference" + Path.DirectorySeparatorChar + "p", StringComparison.Ordinal));
        using var expected = LoadedModel.Open(from);
        foreach (var part in Enum.GetValues<ModelPart>())
        {
            using var weights = SafetensorsFile.Open(
                Path.Combine(from, DiffusersFolder.FolderOf(part), $"{DiffusersFolder.WeightsOf(part)}.safetensors"));
            WriteShards(weights, folder[DiffusersFolder.FolderOf(part)], part == ModelPart.TextEncoder ? "pytorch_model" : "diffusion_pytorch_model");
        }

        using var model = LoadedModel.Open(folder.Path);
        foreach (var part in Enum.GetValues<ModelPart>())
        {
            using var stored = expected.OpenWeights(part);
            using var sharded = model.OpenWeights(part);
            Assert.EndsWith(".bin.index.json", sharded.Description, StringComparison.Ordinal);
            Assert.Equal(stored.Tensors.Keys.Order(), sharded.Tensors.Keys.Order());
            foreach (var tensor in stored.Tensors.Values.Where(t => FloatConversion.IsFloat(t.Type)))
            {
                var (a, b) = (new float[tensor.Count], new float[tensor.Count]);
                stored.Read(tensor.Name, a);
                sharded.Read(tensor.Name, b);
                Assert.True(a.AsSpan().SequenceEqual(b), tensor.Name);
            }
        }

        Assert.Null(model.Describe().Sha256);
    }

    public void Dispose() => folder.Dispose();

    private static void WriteShards(SafetensorsFile weights, string at, string name)
    {
        var map = new Dictionary<string, string>();
        var byShard = weights.Tensors.Values.Select((t, i) => (Tensor: t, Shard: i % Shards)).GroupBy(t => t.Shard, t => t.Tensor);
        foreach (var shard in byShard)
        {
            var (file, tensors) = ($"{name}-{shard.Key + 1:00000}-of-{Shards:00000}.bin", new Dictionary<string, object?>());
            foreach (var tensor in shard)
            {
                map.Add(tensor.Name, file);
                if (FloatConversion.IsFloat(tensor.Type))
                {
                    var values = new float[tensor.Count];
                    weights.Read(tensor.Name, values);
                    tensors.Add(tensor.Name, SampleTensor.Floats($"{tensors.Count}", values, tensor.Shape));
                }
                else
                {
                    var bytes = new byte[tensor.Count * SafetensorsHeader.BytesOf(tensor.Type)];
                    tensors.Add(tensor.Name, SampleTensor.Plain($"{tensors.Count}", tensor.Type, bytes, tensor.Shape));
                }
            }

            File.WriteAllBytes(Path.Combine(at, file), TorchFileWriter.Write(tensors));
        }

        File.WriteAllText(
            Path.Combine(at, $"{name}.bin.index.json"), JsonSerializer.Serialize(new { metadata = new { total_size = 1 }, weight_map = map }));
    }
}
