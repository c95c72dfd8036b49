using System.Text.Json;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// Files that together hold one component, with an index (<c>….safetensors.index.json</c>, <c>….bin.index.json</c>) whose
/// <c>weight_map</c> says which file holds which tensor. Index and files must agree in both directions.
/// </summary>
internal sealed class ShardedWeights : IWeightSource
{
    private readonly Dictionary<string, IWeightSource> shardOf = [];
    private readonly List<IWeightSource> shards = [];

    private ShardedWeights(string indexPath) => Description = indexPath;

    public string Description { get; }

    public IReadOnlyDictionary<string, TensorInfo> Tensors { get; private set; } = new Dictionary<string, TensorInfo>();

    /// <exception cref="StableDiffusionException">The index or a shard is missing or damaged, or they contradict each other.</exception>
    public static ShardedWeights Open(string indexPath)
    {
        var source = new ShardedWeights(indexPath);
        try
        {
            source.OpenShards();
            return source;
        }
        catch
        {
            source.Dispose();
            throw;
        }
    }

    public void Read(string name, Span<float> destination)
    {
        _ = WeightCheck.Readable(this, name, destination.Length);
        shardOf[name].Read(name, destination);
    }

    public void Read(string name, Span<ushort> destination)
    {
        _ = WeightCheck.Readable(this, name, destination.Length);
        shardOf[name].Read(name, destination);
    }

    public StoredTensor? Locate(string name) => shardOf[name].Locate(name);

    public void Dispose() => shards.ForEach(s => s.Dispose());

    private void OpenShards()
    {
        if (!JsonFile.Read(Description).TryGetProperty("weight_map", out var map) || map.ValueKind != JsonValueKind.Object)
        {
            throw Error("has no weight_map");
        }

        var byFile = map.EnumerateObject().GroupBy(e => FileName(e), e => e.Name);
        var tensors = new Dictionary<string, TensorInfo>();
        foreach (var group in byFile)
        {
            var path = Path.Combine(Path.GetDirectoryName(Description)!, group.Key);
            if (!File.Exists(path))
            {
                throw Error($"names the shard {group.Key}, which is not there");
            }

            var shard = WeightFile.Open(path);
            shards.Add(shard);
            foreach (var name in group)
            {
                tensors.Add(name, shard.Tensors.TryGetValue(name, out var info) ? info : throw Error($"{group.Key} does not hold {name}"));
                shardOf.Add(name, shard);
            }

            if (shard.Tensors.Keys.FirstOrDefault(name => shardOf.GetValueOrDefault(name) != shard) is { } extra)
            {
                throw Error($"{group.Key} holds {extra}, which the index does not place there");
            }
        }

        Tensors = tensors;
    }

    /// <summary>A shard lies beside its index.</summary>
    private string FileName(JsonProperty entry)
    {
        var name = entry.Value.ValueKind == JsonValueKind.String ? entry.Value.GetString()! : "";
        return name.Length > 0 && name is not ("." or "..") && name.IndexOfAny(['/', '\\', ':', '\0']) < 0
            ? name
            : throw Error($"places {entry.Name} in {JsonFile.Quote(entry.Value)}, not a file name of the same folder");
    }

    private StableDiffusionException Error(string problem) => new($"{Description}: {problem}");
}
