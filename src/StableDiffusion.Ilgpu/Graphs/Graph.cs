namespace StableDiffusion.Ilgpu.Graphs;

/// <summary>A model as recorded: values in the order of their computation, with names for the ones that matter.</summary>
internal sealed class Graph(string name)
{
    private readonly List<Value> values = [];
    private readonly Dictionary<string, Value> outputs = [];
    private readonly Dictionary<string, Value> names = [];

    public string Name => name;

    /// <summary>Convolutions are recorded as circular, so that pictures join at opposite edges.</summary>
    public bool Circular { get; init; }

    /// <summary>Every value stands behind its inputs.</summary>
    public IReadOnlyList<Value> Values => values;

    public IReadOnlyDictionary<string, Value> Outputs => outputs;

    /// <summary>Module outputs by diffusers module path, for looking at them; a rule may fuse a named value away unless it is an output.</summary>
    public IReadOnlyDictionary<string, Value> Names => names;

    public IEnumerable<Value> Inputs => values.Where(v => v.Op is Input);

    /// <summary>Every parameter of the graph, once.</summary>
    public IReadOnlyList<Weight> Weights => [.. values.SelectMany(v => v.Op.Weights).DistinctBy(w => w.Name)];

    public Value Input(string key, Shape shape, ElementType type, Rate rate)
    {
        var value = new Value(this, new Input(key), [], shape, type, key, rate);
        values.Add(value);
        return value;
    }

    public Value Record(Op op, Shape shape, string path, params Value[] inputs)
    {
        var value = new Value(this, op, inputs, shape, ElementType.Activation, path, inputs.Max(i => i.Rate));
        values.Add(value);
        return value;
    }

    /// <summary>Names a value; the last one of a name counts.</summary>
    public Value Mark(string path, Value value) => names[path] = value;

    public void Output(string key, Value value) => outputs[key] = value;

    public bool IsOutput(Value value) => outputs.ContainsValue(value);

    /// <summary>Number of uses of each value, an output counting as one.</summary>
    public Dictionary<Value, int> CountUses()
    {
        var uses = values.ToDictionary(v => v, _ => 0);
        foreach (var value in values.SelectMany(v => v.Inputs).Concat(outputs.Values))
        {
            uses[value]++;
        }

        return uses;
    }

    /// <summary>The values that read each value, in order; one that reads it twice stands there twice.</summary>
    public ILookup<Value, Value> FindUsers() =>
        values.SelectMany(v => v.Inputs.Select(i => (Input: i, User: v))).ToLookup(p => p.Input, p => p.User);

    /// <summary>Puts a new value directly in front of <paramref name="position"/>.</summary>
    public Value InsertBefore(Value position, Op op, Shape shape, string path, params Value[] inputs)
    {
        var value = new Value(this, op, inputs, shape, ElementType.Activation, path, inputs.Max(i => i.Rate));
        values.Insert(values.IndexOf(position), value);
        return value;
    }

    /// <summary>Drops values that no output needs.</summary>
    public void RemoveUnused()
    {
        var needed = new HashSet<Value>();
        var open = new Stack<Value>(outputs.Values);
        while (open.TryPop(out var value))
        {
            if (needed.Add(value))
            {
                foreach (var input in value.Inputs)
                {
                    open.Push(input);
                }
            }
        }

        values.RemoveAll(v => !needed.Contains(v));
        foreach (var key in names.Where(o => !needed.Contains(o.Value)).Select(o => o.Key).ToArray())
        {
            names.Remove(key);
        }
    }
}
