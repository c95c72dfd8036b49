using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Graphs;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>
/// Runs the programs of a placement on an arena whose bytes hold the name of the value that was written there last: each launch
/// must find its inputs, before and after it writes its output (unless that is written over the input), and the caller must find the outputs.
/// </summary>
internal sealed class ArenaSimulation
{
    private readonly Placement placement;
    private readonly ArenaPlan plan;
    private readonly int activationBytes;
    private readonly Dictionary<Value, int> ids;
    private readonly int[] owners;

    public ArenaSimulation(Placement placement, ArenaPlan plan, int activationBytes)
    {
        (this.placement, this.plan, this.activationBytes) = (placement, plan, activationBytes);
        ids = placement.Graph.Values.Select((v, i) => (v, i)).ToDictionary(p => p.v, p => p.i + 1);
        owners = new int[plan.Bytes];
        Assert.All(placement.Roots, root => Assert.Equal(0, plan.OffsetOf(root) % MemoryPlanner.Alignment));
        foreach (var input in placement.Graph.Inputs)
        {
            Write(input, placement[input]);
        }
    }

    /// <summary>A generation with one prompt and some timesteps, the schedule's program run once for each before the first step.</summary>
    public void Generate(int timesteps)
    {
        Run(Rate.Prompt);
        var region = plan.Snapshot;
        var snapshots = new int[timesteps][];
        for (var i = 0; i < timesteps; i++)
        {
            Run(Rate.Schedule);
            snapshots[i] = owners.AsSpan((int)region.Offset, (int)region.Length).ToArray();
        }

        foreach (var snapshot in snapshots)
        {
            owners.AsSpan((int)region.Offset, (int)region.Length).Clear();
            snapshot.CopyTo(owners, region.Offset);
            Run(Rate.Step);
            foreach (var output in placement.Graph.Outputs.Values)
            {
                AssertHolds(output, "the caller");
            }
        }
    }

    private void Run(Rate rate)
    {
        foreach (var value in placement.Launches(rate))
        {
            var inputs = value.Op is Concat ? placement.Copies(value).Select(c => c.Operand) : value.Inputs;
            AssertAllHold(inputs, value);
            if (value.Op is Concat)
            {
                foreach (var (operand, target) in placement.Copies(value))
                {
                    Write(operand, target);
                }

                AssertHolds(value, "its copies");
            }
            else
            {
                Write(value, placement[value]);
            }

            if (!placement.IsInPlace(value))
            {
                AssertAllHold(inputs, value);
            }
        }
    }

    private void AssertAllHold(IEnumerable<Value> inputs, Value reader)
    {
        foreach (var input in inputs)
        {
            AssertHolds(input, reader.ToString());
        }
    }

    private void AssertHolds(Value value, string reader)
    {
        var column = 0;
        foreach (var (id, count) in Columns(value))
        {
            foreach (var row in Bytes(value, placement[value].Column(column), count))
            {
                Assert.False(row.ContainsAnyExcept(id), $"{reader} does not find {value}");
            }

            column += count;
        }
    }

    private void Write(Value value, ValuePlace place)
    {
        foreach (var (id, count) in Columns(value))
        {
            foreach (var row in Bytes(value, place, count))
            {
                row.Fill(id);
            }

            place = place.Column(count);
        }
    }

    /// <summary>Who makes which columns of a value, from left to right.</summary>
    private List<(int Id, int Count)> Columns(Value value)
    {
        switch (value.Op)
        {
            case Concat:
                return [.. value.Inputs.SelectMany(Columns)];
            case Slice slice:
                var columns = new List<(int, int)>();
                var at = 0;
                foreach (var (id, count) in Columns(value.Inputs[0]))
                {
                    var overlap = Math.Min(at + count, slice.Start + slice.Count) - Math.Max(at, slice.Start);
                    if (overlap > 0)
                    {
                        columns.Add((id, overlap));
                    }

                    at += count;
                }

                return columns;
            default:
                return [(ids[value], value.C)];
        }
    }

    /// <summary>The owners of a value's bytes, row by row.</summary>
    private RowEnumerator Bytes(Value value, ValuePlace place, int columns) =>
        new(
            owners, plan.OffsetOf(place.Root), place, value.Shape.Rows, columns,
            value.Type == ElementType.Activation ? activationBytes : 4);

    private ref struct RowEnumerator(int[] owners, long start, ValuePlace place, int rows, int columns, int size)
    {
        private int row = -1;

        public readonly Span<int> Current =>
            owners.AsSpan((int)(start + ((place.ElementOffset + ((long)row * place.RowPitch)) * size)), columns * size);

        public readonly RowEnumerator GetEnumerator() => this;

        public bool MoveNext() => ++row < rows;
    }
}
