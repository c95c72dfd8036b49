using System.Runtime.InteropServices;
using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>
/// The rows of some weights of one width, one weight's behind the other's. What lies in a file as it is, is read from there in parts;
/// what the source computes must be read whole first.
/// </summary>
internal sealed class WeightRows<T> : IDisposable where T : unmanaged
{
    private readonly IWeightSource source;
    private readonly Part[] parts;

    public WeightRows(IWeightSource source, params IEnumerable<Weight> weights)
    {
        this.source = source;
        var first = 0;
        var list = new List<Part>();
        foreach (var weight in weights)
        {
            list.Add(new Part(weight, first, source.Locate(weight.Name)));
            first += (int)weight.Shape[0];
        }

        parts = [.. list];
        Count = first;
    }

    /// <summary>Rows of all weights together.</summary>
    public int Count { get; }

    /// <summary>Values of a row.</summary>
    public int Width => checked((int)parts[0].Weight.Shape.Skip(1).Aggregate(1L, (a, b) => a * b));

    /// <summary>Whether <see cref="Read"/> works without <see cref="ReadWhole"/>.</summary>
    public bool AreStored => parts.All(p => p.Stored is not null);

    /// <summary>Reads what cannot be read in parts, and keeps it until this is disposed.</summary>
    public void ReadWhole()
    {
        foreach (var part in parts.Where(p => p.Stored is null))
        {
            part.Whole = new HostArray<T>(checked((int)part.Weight.Shape[0] * Width));
            if (typeof(T) == typeof(float))
            {
                source.Read(part.Weight.Name, MemoryMarshal.Cast<T, float>(part.Whole.Span));
            }
            else
            {
                source.Read(part.Weight.Name, MemoryMarshal.Cast<T, ushort>(part.Whole.Span));
            }
        }
    }

    /// <summary>Copies whole rows. Thread-safe.</summary>
    public void Read(int firstRow, Span<T> destination)
    {
        foreach (var part in parts)
        {
            var row = firstRow - part.FirstRow;
            var rows = Math.Min(destination.Length / Width, (int)part.Weight.Shape[0] - row);
            if (row >= 0 && rows > 0)
            {
                part.Read((long)row * Width, destination[..(rows * Width)]);
                destination = destination[(rows * Width)..];
                firstRow += rows;
            }
        }
    }

    public void Dispose()
    {
        foreach (var part in parts)
        {
            part.Whole?.Dispose();
        }
    }

    private sealed record Part(Weight Weight, int FirstRow, StoredTensor? Stored)
    {
        public HostArray<T>? Whole { get; set; }

        public void Read(long first, Span<T> destination)
        {
            if (Whole is not null)
            {
                Whole.Span.Slice((int)first, destination.Length).CopyTo(destination);
            }
            else if (typeof(T) == typeof(float))
            {
                Stored!.From(first).Read(MemoryMarshal.Cast<T, float>(destination));
            }
            else
            {
                Stored!.From(first).Read(MemoryMarshal.Cast<T, ushort>(destination));
            }
        }
    }
}
