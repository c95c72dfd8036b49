namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// The objects of a PyTorch file: what becomes of the names in <see cref="TorchGlobals"/> where the pickle calls them. Errors are
/// <see cref="InvalidDataException"/>s whose messages lack the file and the place.
/// </summary>
/// <param name="locate">Offset and length in bytes of a storage by its key; null where the file has none.</param>
/// <param name="budget">Taken from for every object.</param>
internal sealed class TorchObjects(Func<string, (long Offset, long Length)?> locate, AllocationBudget budget)
{
    private const int StorageBytes = 200, DictionaryBytes = 48, TensorBytes = 112;

    private readonly Dictionary<string, TorchStorage> storages = [];

    /// <summary>A storage by PyTorch's persistent id: ("storage", class, key, device, number of elements).</summary>
    public TorchStorage Storage(object? id)
    {
        if (id is not object?[] { Length: 5 } parts || parts[0] is not "storage" || parts[2] is not string key || parts[3] is not string
            || parts[4] is not long count || parts[1] is not TorchGlobal { Kind: TorchGlobalKind.Storage, Type: { } type } global)
        {
            throw new InvalidDataException("a persistent id is not a storage's: (\"storage\", class, key, device, count)");
        }

        if (!storages.TryGetValue(key, out var storage))
        {
            var (offset, length) = locate(key) ?? throw new InvalidDataException($"the storage {key} is not in the file");
            budget.Take(StorageBytes);
            storage = new TorchStorage(key, type, length / SafetensorsHeader.BytesOf(type), offset);
            if (count < 0 || count != storage.Count || length % SafetensorsHeader.BytesOf(type) != 0)
            {
                throw new InvalidDataException(
                    $"the storage {key} is said to be a {global.Name} of {NumberText.Of(count)} elements; it has {length} bytes");
            }

            storages.Add(key, storage);
        }

        return storage.Type == type && storage.Count == count ? storage
            : throw new InvalidDataException(
                $"the storage {key} is a {global.Name} of {NumberText.Of(count)} elements here, but {storage.Type} with {storage.Count} elsewhere");
    }

    /// <summary>What a call with these arguments makes.</summary>
    public object? Call(TorchGlobal global, object?[] arguments) => (global.Kind, arguments) switch
    {
        (TorchGlobalKind.OrderedDictionary, []) => Dictionary(),
        (TorchGlobalKind.Set, [IReadOnlyList<object?> items]) => items,
        (TorchGlobalKind.Size, [IReadOnlyList<object?> sizes]) => sizes,
        (TorchGlobalKind.RebuildTensor, [TorchStorage storage, long start, object?[] shape, object?[] strides, _, _, .. var view]) =>
            Tensor(storage, start, shape, strides, view),
        (TorchGlobalKind.RebuildTypedTensor,
            [TorchStorage storage, long start, object?[] shape, object?[] strides, _, _, TorchGlobal { Type: { } type }, .. var view]) =>
            Tensor(Retyped(storage, type), start, shape, strides, view),
        (TorchGlobalKind.RebuildParameter, [TorchTensor tensor, ..]) => tensor,
        (TorchGlobalKind.RebuildFromType,
            [TorchGlobal { Kind: TorchGlobalKind.RebuildTensor or TorchGlobalKind.RebuildTypedTensor } function, TorchGlobal, object?[] inner, ..]) =>
            Call(function, inner),
        (TorchGlobalKind.Opaque, _) => global,
        _ => throw new InvalidDataException($"{global.Name} is called with arguments that torch.save does not write"),
    };

    /// <summary>A new object of a class, made without calling it.</summary>
    public object New(TorchGlobal global, object?[] arguments) => (global.Kind, arguments) switch
    {
        (TorchGlobalKind.OrderedDictionary, []) => Dictionary(),
        (TorchGlobalKind.ParameterDictionary, []) => Dictionary(isParameters: true),
        (TorchGlobalKind.Opaque, _) => global,
        _ => throw new InvalidDataException($"an object of {global.Name} is made, which torch.save does not write"),
    };

    /// <summary>Takes in an object's state. All but that of ParameterDict says nothing about tensors and is dropped.</summary>
    public static void SetState(object? target, object? state)
    {
        switch (target, state)
        {
            case (TorchDictionary { IsParameters: true } dictionary, TorchDictionary attributes):
                if (!attributes.TryGetValue("_parameters", out var value) || value is not TorchDictionary parameters)
                {
                    throw new InvalidDataException("a ParameterDict has no _parameters");
                }

                dictionary.ShareEntriesOf(parameters);
                break;
            case (TorchDictionary { IsParameters: false }, TorchDictionary): // the _metadata of a module's state_dict
            case (TorchOpaque, _):
                break;
            default:
                throw new InvalidDataException($"a state is given to {Describe(target)}, which torch.save does not write");
        }
    }

    public TorchDictionary Dictionary(bool isParameters = false)
    {
        budget.Take(DictionaryBytes);
        return new TorchDictionary(isParameters);
    }

    /// <summary>For messages.</summary>
    public static string Describe(object? value) => value switch
    {
        null => "None",
        bool => "a bool",
        long => "an integer",
        double => "a float",
        string => "a text",
        TorchDictionary => "a dictionary",
        TorchTensor => "a tensor",
        TorchStorage => "a storage",
        TorchOpaque opaque => opaque.Name,
        _ => "a list",
    };

    /// <param name="storage">What it views.</param>
    /// <param name="start">Its first element's place in the storage.</param>
    /// <param name="shape">Sizes.</param>
    /// <param name="strides">For each dimension.</param>
    /// <param name="view">Empty, or a dictionary that says whether the values count with the other sign.</param>
    private TorchTensor Tensor(TorchStorage storage, long start, object?[] shape, object?[] strides, object?[] view)
    {
        if (view is [TorchDictionary flags, ..] && flags.TryGetValue("neg", out var isNegative) && isNegative is true)
        {
            throw new InvalidDataException("a tensor is a negative view of its storage, which is not read");
        }

        budget.Take(TensorBytes + (8L * (shape.Length + strides.Length)));
        return new TorchTensor(storage, start, Numbers(shape), Numbers(strides));
    }

    /// <summary>PyTorch stores its newer types as bytes and gives each tensor its type; one storage serves tensors of one type.</summary>
    private TorchStorage Retyped(TorchStorage storage, TensorType type)
    {
        var size = SafetensorsHeader.BytesOf(type);
        budget.Take(StorageBytes);
        return SafetensorsHeader.BytesOf(storage.Type) == 1 && storage.Count % size == 0 ? storage with { Type = type, Count = storage.Count / size }
            : throw new InvalidDataException($"the storage {storage.Key} of {storage.Count} {storage.Type} is read as {type}");
    }

    private static long[] Numbers(object?[] values)
    {
        var numbers = new long[values.Length];
        for (var i = 0; i < numbers.Length; i++)
        {
            numbers[i] = i < TorchTensor.LargestRank && values[i] is long number ? number
                : throw new InvalidDataException($"a tensor's shape or strides are not at most {TorchTensor.LargestRank} integers");
        }

        return numbers;
    }
}
