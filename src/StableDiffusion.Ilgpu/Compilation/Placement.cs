using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>Where a value lies in its root: element (row, column) at ElementOffset + row * RowPitch + column.</summary>
internal readonly record struct ValuePlace(StorageRoot Root, long ElementOffset, int RowPitch)
{
    /// <summary>The place of a value that starts at a column of this one.</summary>
    public ValuePlace Column(int column) => this with { ElementOffset = ElementOffset + column };
}

/// <summary>An operand of a concatenation that has to be copied to its place in it.</summary>
internal readonly record struct ConcatCopy(Value Operand, ValuePlace Target);

/// <summary>
/// Decides which values of a fused graph share memory by construction, which launches each program has, and how long memory is needed.
/// <list type="bullet">
/// <item>A slice is a place in its source.</item>
/// <item>A concatenation's operands are written straight into its columns where they have no other place (option FoldConcat);
/// the other ones are copied there.</item>
/// <item>A group norm or activation that reads its source last of all is written over it (option InPlace): its kernels read each
/// element, and nothing else of the source by then, before they write it.</item>
/// <item>Everything else has a root of its own, dense.</item>
/// </list>
/// Other launches may read and write the same root, but never the same elements.
/// </summary>
internal sealed class Placement
{
    private readonly Graph graph;
    private readonly List<StorageRoot> roots = [];
    private readonly Dictionary<Value, ValuePlace> places = [];
    private readonly Dictionary<Value, List<ConcatCopy>> copies = [];

    private Placement(Graph graph) => this.graph = graph;

    public Graph Graph => graph;

    /// <summary>Each at its <see cref="StorageRoot.Index"/>.</summary>
    public IReadOnlyList<StorageRoot> Roots => roots;

    public ValuePlace this[Value value] => places[value];

    public static Placement Create(Graph graph, FusionOptions options)
    {
        var placement = new Placement(graph);
        placement.PlaceConcats(options.FoldConcat);
        placement.PlaceOthers(options.InPlace);
        placement.FindLifetimes();
        return placement;
    }

    /// <summary>The values that the program of this rate computes by a launch (or copies), in order.</summary>
    public IReadOnlyList<Value> Launches(Rate rate) =>
        [.. graph.Values.Where(v => v.Rate == rate && v.Op is not (Input or Slice) && (v.Op is not Concat || Copies(v).Count > 0))];

    /// <summary>What a concatenation has to copy; nothing where all operands are written in place.</summary>
    public IReadOnlyList<ConcatCopy> Copies(Value concat) => copies.GetValueOrDefault(concat) ?? [];

    /// <summary>Whether a value is written over its source.</summary>
    public bool IsInPlace(Value value) => MayOverwrite(value.Op) && places[value] == places[value.Inputs[0]];

    /// <summary>Backwards, so that a concatenation within another one finds its place in that.</summary>
    private void PlaceConcats(bool fold)
    {
        foreach (var concat in graph.Values.Reverse().Where(v => v.Op is Concat))
        {
            var place = places.TryGetValue(concat, out var outer) ? outer : AddRoot(concat);
            places[concat] = place;
            foreach (var operand in concat.Inputs)
            {
                if (fold && CanLieIn(concat, operand))
                {
                    places.Add(operand, place);
                }
                else
                {
                    copies.TryAdd(concat, []);
                    copies[concat].Add(new ConcatCopy(operand, place));
                }

                place = place.Column(operand.C);
            }
        }
    }

    /// <summary>
    /// Outputs and inputs stay dense and apart for the caller. A value of a slower program would make the whole concatenation persistent.
    /// </summary>
    private bool CanLieIn(Value concat, Value operand) =>
        operand.Op is not (Input or Slice)
        && !places.ContainsKey(operand)
        && !graph.IsOutput(operand)
        && operand.Rate == concat.Rate;

    private void PlaceOthers(bool inPlace)
    {
        var positions = graph.Values.Select((v, i) => (v, i)).ToDictionary(p => p.v, p => p.i);
        var users = graph.FindUsers();
        foreach (var value in graph.Values)
        {
            if (value.Op is Slice slice)
            {
                places[value] = places[value.Inputs[0]].Column(slice.Start);
            }
            else if (!places.ContainsKey(value))
            {
                places.Add(value, inPlace && CanOverwrite(value) ? places[value.Inputs[0]] : AddRoot(value));
            }
        }

        // Whatever lies in the source's root must have been read by then: a later slice or concatenation of it counts as a reader.
        bool CanOverwrite(Value value) =>
            MayOverwrite(value.Op)
            && !graph.IsOutput(value)
            && places.Where(p => p.Value.Root == places[value.Inputs[0]].Root).All(p =>
                p.Key.Op is not Input && !graph.IsOutput(p.Key) && users[p.Key].All(u => u.Rate == value.Rate && positions[u] <= positions[value]));
    }

    private static bool MayOverwrite(Op op) => op is GroupNorm or Activate or Affine;

    private ValuePlace AddRoot(Value value)
    {
        var root = new StorageRoot(roots.Count, value.Shape.Rows, value.C, value.Type, value.Rate);
        roots.Add(root);
        return new ValuePlace(root, 0, root.Pitch);
    }

    /// <summary>
    /// Positions count the values program by program, so that a root which is not persistent lives within one program's range.
    /// </summary>
    private void FindLifetimes()
    {
        var position = 0;
        var ends = new Dictionary<Rate, int>();
        foreach (var value in graph.Values.OrderBy(v => v.Rate))
        {
            places[value].Root.WriteAt(position);
            foreach (var input in value.Inputs)
            {
                places[input].Root.ReadAt(position, value.Rate);
            }

            ends[value.Rate] = ++position;
        }

        foreach (var input in graph.Inputs)
        {
            places[input].Root.Keep();
        }

        // The caller reads outputs after the last program: those of the earlier ones must survive it.
        foreach (var output in graph.Outputs.Values)
        {
            var root = places[output].Root;
            root.ReadAt(ends[root.Rate], ends.Keys.Max());
        }
    }
}
