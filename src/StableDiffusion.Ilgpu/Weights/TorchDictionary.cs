using System.Collections;
using System.Diagnostics.CodeAnalysis;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// A dictionary of a PyTorch file, in the file's order: those entries whose key is a text. Values are null, <see cref="bool"/>,
/// <see cref="long"/>, <see cref="double"/>, <see cref="string"/>, <see cref="TorchTensor"/>, <see cref="TorchStorage"/>,
/// <see cref="TorchDictionary"/>, <see cref="IReadOnlyList{T}"/> (lists, tuples, sets) or <see cref="TorchOpaque"/>.
/// A file can make it hold itself.
/// </summary>
internal sealed class TorchDictionary : IReadOnlyDictionary<string, object?>
{
    private static readonly OrderedDictionary<string, object?> Nothing = [];

    // Most dictionaries of a tensor file stay empty: every tensor brings one.
    private OrderedDictionary<string, object?> entries = Nothing;

    /// <param name="isParameters">Whether it is PyTorch's ParameterDict, whose entries come in its state.</param>
    public TorchDictionary(bool isParameters = false) => IsParameters = isParameters;

    public bool IsParameters { get; }

    public int Count => entries.Count;

    public IEnumerable<string> Keys => entries.Keys;

    public IEnumerable<object?> Values => entries.Values;

    public object? this[string key] => entries[key];

    public bool ContainsKey(string key) => entries.ContainsKey(key);

    public bool TryGetValue(string key, [MaybeNullWhen(false)] out object? value) => entries.TryGetValue(key, out value);

    /// <summary>False where the key is there already.</summary>
    public bool TryAdd(string key, object? value)
    {
        if (ReferenceEquals(entries, Nothing))
        {
            entries = [];
        }

        return entries.TryAdd(key, value);
    }

    /// <summary>Takes the place of its entries those of another, which stays as it is.</summary>
    public void ShareEntriesOf(TorchDictionary other) => entries = other.entries;

    public IEnumerator<KeyValuePair<string, object?>> GetEnumerator() => entries.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
