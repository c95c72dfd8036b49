namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// A source whose tensors are called and shaped differently: same elements in the same order. Owns the inner source.
/// </summary>
internal sealed class RenamedWeights : IWeightSource
{
    private readonly IWeightSource inner;
    private readonly Dictionary<string, string> innerNames = [];

    /// <param name="inner">Disposed with this.</param>
    /// <param name="rename">The tensor's new name and shape; the same record where nothing changes.</param>
    /// <exception cref="StableDiffusionException">Two tensors get the same name.</exception>
    private RenamedWeights(IWeightSource inner, Func<TensorInfo, TensorInfo> rename)
    {
        this.inner = inner;
        var tensors = new Dictionary<string, TensorInfo>();
        foreach (var tensor in inner.Tensors.Values)
        {
            var renamed = rename(tensor);
            if (!innerNames.TryAdd(renamed.Name, tensor.Name))
            {
                throw new StableDiffusionException(
                    $"{inner.Description}: tensors {innerNames[renamed.Name]} and {tensor.Name} both mean {renamed.Name}");
            }

            tensors.Add(renamed.Name, renamed);
        }

        Tensors = tensors;
    }

    public string Description => inner.Description;

    public IReadOnlyDictionary<string, TensorInfo> Tensors { get; }

    /// <summary>
    /// Older autoencoders name their attention query, key, value, proj_attn, some with 1x1-convolution shapes.
    /// Gives them today's names and linear shapes; returns the source itself where there is nothing to rename.
    /// </summary>
    public static IWeightSource WithCurrentAttentionNames(IWeightSource source) =>
        source.Tensors.Values.Any(t => CurrentAttention(t) != t) ? new RenamedWeights(source, CurrentAttention) : source;

    public void Read(string name, Span<float> destination) => inner.Read(InnerName(name), destination);

    public void Read(string name, Span<ushort> destination) => inner.Read(InnerName(name), destination);

    public void Dispose() => inner.Dispose();

    private static TensorInfo CurrentAttention(TensorInfo tensor)
    {
        if (tensor.Name.Split('.') is not [.., "attentions", _, var layer, var kind]
            || CurrentName(layer) is not { } current)
        {
            return tensor;
        }

        var name = $"{tensor.Name[..^(layer.Length + 1 + kind.Length)]}{current}.{kind}";
        return tensor with { Name = name, Shape = tensor.Shape is [var rows, var columns, 1, 1] ? [rows, columns] : tensor.Shape };
    }

    private static string? CurrentName(string layer) => layer switch
    {
        "query" => "to_q",
        "key" => "to_k",
        "value" => "to_v",
        "proj_attn" => "to_out.0",
        _ => null,
    };

    /// <summary>An unknown name goes through: the inner source says what is wrong.</summary>
    private string InnerName(string name) => innerNames.GetValueOrDefault(name, name);
}
