using System.Runtime.InteropServices;
using StableDiffusion.Ilgpu.Tests.Samples;
using StableDiffusion.Ilgpu.Weights;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Sharded safetensors with an index.</summary>
public sealed class WeightsShardTests : IDisposable
{
    private const string Index = "model.safetensors.index.json";

    private readonly WeightsTestFiles files = new();

    public WeightsShardTests()
    {
        WriteShard("model-00001-of-00002.safetensors", ("a", 1), ("b", 2));
        WriteShard("model-00002-of-00002.safetensors", ("c", 3));
    }

    public void Dispose() => files.Dispose();

    [Fact]
    public void Tensors_come_from_their_shards()
    {
        using var source = ShardedWeights.Open(WriteIndex(Map("a", 1), Map("b", 1), Map("c", 2)));
        Assert.Equal(["a", "b", "c"], source.Tensors.Keys.Order());
        foreach (var (name, value) in new[] { ("a", 1f), ("b", 2f), ("c", 3f) })
        {
            var (single, half) = (new float[2], new ushort[2]);
            source.Read(name, single);
            source.Read(name, half);
            Assert.Equal([value, value], single);
            Assert.Equal((Half)value, BitConverter.UInt16BitsToHalf(half[1]));
        }

        WeightsTestFiles.Refused(() => source.Read("d", new float[2]), Index, "d is missing", "nearest: a, b, c");
    }

    [Fact]
    public void Shards_may_be_pytorch_files()
    {
        byte[] bytes = [.. BitConverter.GetBytes(4f), .. BitConverter.GetBytes(5f)];
        File.WriteAllBytes(files.PathOf("pytorch_model-00001-of-00001.bin"), TorchFileWriter.Write(
            new Dictionary<string, object?> { ["a"] = SampleTensor.Plain("0", TensorType.F32, bytes, 2) }));
        using var source = ShardedWeights.Open(files.Write(
            "pytorch_model.bin.index.json", """{"weight_map":{"a":"pytorch_model-00001-of-00001.bin"}}"""));
        var values = new float[2];
        source.Read("a", values);
        Assert.Equal([4, 5], values);
    }

    [Fact]
    public void Index_and_shards_must_agree()
    {
        Refused([Map("a", 1), Map("b", 1), Map("c", 2), Map("d", 2)], "model-00002-of-00002.safetensors does not hold d");
        Refused([Map("a", 1), Map("b", 1), Map("c", 1)], "model-00001-of-00002.safetensors does not hold c");
        Refused([Map("a", 1), Map("c", 2)], "model-00001-of-00002.safetensors holds b");
        Refused([Map("a", 1), Map("b", 1), Map("a", 1), Map("c", 2)], "uplicate");
    }

    [Fact]
    public void A_missing_shard_is_named()
    {
        Refused([Map("a", 1), Map("b", 1), Map("c", 3)], "model-00003-of-00002.safetensors, which is not there");
        File.WriteAllBytes(files.PathOf("model-00002-of-00002.safetensors"), new byte[5]);
        WeightsTestFiles.Refused(
            () => ShardedWeights.Open(WriteIndex(Map("a", 1), Map("b", 1), Map("c", 2))), "model-00002-of-00002.safetensors", "5 bytes");
    }

    [Theory]
    [InlineData("\"../x.safetensors\"")]
    [InlineData("\"sub/x.safetensors\"")]
    [InlineData("\"sub\\\\x.safetensors\"")]
    [InlineData("\"/etc/passwd\"")]
    [InlineData("\"C:x.safetensors\"")]
    [InlineData("\"..\"")]
    [InlineData("\"\"")]
    [InlineData("7")]
    public void A_shard_outside_the_folder_is_refused(string name) => Refused([$"\"a\":{name}"], "places a in", "not a file name of the same folder");

    [Theory]
    [InlineData("{}", "has no weight_map")]
    [InlineData("{\"weight_map\":[]}", "has no weight_map")]
    [InlineData("{\"weight_map\":", "not valid JSON")]
    [InlineData("[]", "not a JSON object")]
    public void A_damaged_index_is_refused(string text, string message)
    {
        var path = files.Write(Index, text);
        WeightsTestFiles.Refused(() => ShardedWeights.Open(path), path, message);
    }

    private static string Map(string tensor, int shard) => $"\"{tensor}\":\"model-0000{shard}-of-00002.safetensors\"";

    private string WriteIndex(params string[] map) =>
        files.Write(Index, $$$"""{"metadata":{"total_size":24},"weight_map":{ {{{string.Join(",", map)}}} }}""");

    private void Refused(string[] map, params string[] message) =>
        WeightsTestFiles.Refused(() => ShardedWeights.Open(WriteIndex(map)), [Index, .. message]);

    private void WriteShard(string name, params (string Name, float Value)[] tensors) => SafetensorsWriter.Write(
        files.PathOf(name),
        [.. tensors.Select(t => new TensorInfo(t.Name, TensorType.F32, [2]))],
        (tensor, bytes) => MemoryMarshal.Cast<byte, float>(bytes).Fill(tensors.Single(t => t.Name == tensor.Name).Value));
}
