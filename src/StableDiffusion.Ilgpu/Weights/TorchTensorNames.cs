namespace StableDiffusion.Ilgpu.Weights;

/// <summary>The tensors that are reached from a dictionary through dictionaries and lists, by their joined names.</summary>
internal sealed class TorchTensorNames
{
    /// <summary>Containers in containers. No file of tensors needs more, and a file can make a container hold itself.</summary>
    private const int DeepestNesting = 16;

    /// <summary>Of a tensor's records and its shares of dictionaries, without its name.</summary>
    private const int TensorBytes = 256;

    private readonly string path;
    private readonly AllocationBudget budget;
    private readonly Dictionary<string, TensorInfo> infos = [];
    private readonly Dictionary<string, TorchTensor> tensors = [];
    private long left;

    private TorchTensorNames(string path, long references, AllocationBudget budget) =>
        (this.path, left, this.budget) = (path, references, budget);

    public IReadOnlyDictionary<string, TensorInfo> Tensors => infos;

    /// <param name="path">What messages call the file.</param>
    /// <param name="root">Where to start.</param>
    /// <param name="references">
    /// How many entries and items there can be: a pickle takes at least a byte for each. Containers that hold others many times over
    /// can describe exponentially more.
    /// </param>
    /// <param name="budget">Taken from for every tensor.</param>
    /// <exception cref="StableDiffusionException">No tensors, two of one name, or containers nested without end.</exception>
    public static TorchTensorNames Collect(string path, TorchDictionary root, long references, AllocationBudget budget)
    {
        var names = new TorchTensorNames(path, references, budget);
        names.Visit("", root, 0);
        return names.tensors.Count > 0 ? names : throw new StableDiffusionException($"{path}: holds no tensors");
    }

    /// <summary>One of <see cref="Tensors"/>.</summary>
    public TorchTensor Find(string name) => tensors[name];

    private void Visit(string prefix, object? value, int depth)
    {
        if (value is TorchTensor tensor)
        {
            budget.Take(TensorBytes);
            if (!tensors.TryAdd(prefix, tensor))
            {
                throw new StableDiffusionException($"{path}: two tensors are called {prefix}");
            }

            infos.Add(prefix, new TensorInfo(prefix, tensor.Type, tensor.Shape));
        }
        else if (value is TorchDictionary dictionary)
        {
            Enter(depth);
            foreach (var (key, entry) in dictionary)
            {
                VisitChild(prefix, key, entry, depth);
            }
        }
        else if (value is IReadOnlyList<object?> list)
        {
            Enter(depth);
            for (var i = 0; i < list.Count; i++)
            {
                VisitChild(prefix, null, list[i], depth, i);
            }
        }
    }

    private void Enter(int depth)
    {
        if (depth == DeepestNesting)
        {
            throw new StableDiffusionException($"{path}: its dictionaries and lists are nested more than {DeepestNesting} deep");
        }
    }

    private void VisitChild(string prefix, string? key, object? value, int depth, int index = 0)
    {
        if (--left < 0)
        {
            throw new StableDiffusionException(
                $"{path}: its dictionaries and lists hold each other many times over; made to fill the memory");
        }

        if (value is TorchTensor or TorchDictionary or IReadOnlyList<object?>)
        {
            key ??= index.ToString();
            if (prefix.Length > 0)
            {
                budget.Take(64 + (2L * (prefix.Length + key.Length)));
                key = $"{prefix}.{key}";
            }

            Visit(key, value, depth + 1);
        }
    }
}
