using System.Buffers;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// A source whose tensors are called and shaped differently, or are ranges of stored ones: same elements in the same order.
/// </summary>
internal sealed class RenamedWeights : IWeightSource
{
    private readonly IWeightSource inner;
    private readonly bool leaveOpen;
    private readonly Dictionary<string, View> views = [];

    /// <param name="inner">The stored tensors.</param>
    /// <param name="views">What this source holds; stored tensors without a view are not seen.</param>
    /// <param name="leaveOpen">
    /// Whether the inner source outlives this one; else it is disposed with it, also when this constructor fails.
    /// </param>
    /// <exception cref="StableDiffusionException">Two tensors get the same name.</exception>
    public RenamedWeights(IWeightSource inner, IEnumerable<View> views, bool leaveOpen = false)
    {
        (this.inner, this.leaveOpen) = (inner, leaveOpen);
        foreach (var view in views)
        {
            if (!this.views.TryAdd(view.Tensor.Name, view))
            {
                Dispose();
                throw new StableDiffusionException(
                    $"{inner.Description}: tensors {this.views[view.Tensor.Name].Stored} and {view.Stored} both mean {view.Tensor.Name}");
            }
        }

        Tensors = this.views.ToDictionary(v => v.Key, v => v.Value.Tensor);
    }

    public string Description => inner.Description;

    public IReadOnlyDictionary<string, TensorInfo> Tensors { get; }

    /// <summary>
    /// Older autoencoders name their attention query, key, value, proj_attn, some with 1x1-convolution shapes.
    /// Gives them today's names and linear shapes; returns the source itself where there is nothing to rename.
    /// </summary>
    public static IWeightSource WithCurrentAttentionNames(IWeightSource source) =>
        source.Tensors.Values.Any(t => CurrentAttention(t) != t)
            ? new RenamedWeights(source, source.Tensors.Values.Select(t => new View(CurrentAttention(t), t.Name)))
            : source;

    public void Read(string name, Span<float> destination)
    {
        var (stored, offset, count) = Find(name, destination.Length);
        if (count == destination.Length)
        {
            inner.Read(stored, destination);
            return;
        }

        if (Locate(name) is { } part)
        {
            part.Read(destination);
            return;
        }

        var whole = ArrayPool<float>.Shared.Rent(count);
        inner.Read(stored, whole.AsSpan(0, count));
        whole.AsSpan(offset, destination.Length).CopyTo(destination);
        ArrayPool<float>.Shared.Return(whole);
    }

    public void Read(string name, Span<ushort> destination)
    {
        var (stored, offset, count) = Find(name, destination.Length);
        if (count == destination.Length)
        {
            inner.Read(stored, destination);
            return;
        }

        if (Locate(name) is { } part)
        {
            part.Read(destination);
            return;
        }

        var whole = ArrayPool<ushort>.Shared.Rent(count);
        inner.Read(stored, whole.AsSpan(0, count));
        whole.AsSpan(offset, destination.Length).CopyTo(destination);
        ArrayPool<ushort>.Shared.Return(whole);
    }

    public StoredTensor? Locate(string name)
    {
        var view = views[name];
        return inner.Locate(view.Stored)?.From(view.Offset);
    }

    public void Dispose()
    {
        if (!leaveOpen)
        {
            inner.Dispose();
        }
    }

    private static TensorInfo CurrentAttention(TensorInfo tensor)
    {
        if (tensor.Name.Split('.') is not [.., "attentions", _, var layer, var kind] || CurrentName(layer) is not { } current)
        {
            return tensor.Shape is [_, _, 1, 1] && VaeLdmNames.IsAttentionWeight(tensor.Name)
                ? tensor with { Shape = tensor.Shape[..2] }
                : tensor;
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

    private (string Stored, int Offset, int Count) Find(string name, int length)
    {
        _ = WeightCheck.Readable(this, name, length);
        var view = views[name];
        return (view.Stored, checked((int)view.Offset), checked((int)inner.Tensors[view.Stored].Count));
    }

    /// <summary>A tensor and where its elements lie.</summary>
    /// <param name="Tensor">The tensor as it is seen.</param>
    /// <param name="Stored">The stored tensor that holds it.</param>
    /// <param name="Offset">The element of the stored tensor that it begins at.</param>
    public sealed record View(TensorInfo Tensor, string Stored, long Offset = 0);
}
