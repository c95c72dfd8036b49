using System.Runtime.InteropServices;

namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// The stack on which a pickle puts its objects together, its marks and its memo. Nothing reaches below the last mark, as in Python.
/// Errors are <see cref="InvalidDataException"/>s whose messages lack the file and the place.
/// </summary>
/// <param name="budget">Taken from for every growth.</param>
internal sealed class PickleStack(AllocationBudget budget)
{
    // Estimates from above of what each takes, with the growth of the list or dictionary that it goes into.
    private const int SlotBytes = 24, MarkBytes = 12, MemoBytes = 96, ItemBytes = 24, EntryBytes = 128, ArrayBytes = 32;

    private readonly List<object?> items = [];
    private readonly List<int> marks = [];
    private readonly Dictionary<long, object?> memo = [];
    private int deepest;

    public int Count => items.Count;

    public int Marks => marks.Count;

    public int Remembered => memo.Count;

    public object? Top
    {
        get
        {
            Require(1);
            return items[^1];
        }
    }

    public void Push(object? value)
    {
        if (items.Count == deepest)
        {
            budget.Take(SlotBytes);
            deepest++;
        }

        items.Add(value);
    }

    public object? Pop()
    {
        Require(1);
        var value = items[^1];
        items.RemoveAt(items.Count - 1);
        return value;
    }

    /// <summary>Takes objects from the stack; the one pushed first comes first.</summary>
    public object?[] PopTuple(int count)
    {
        Require(count);
        budget.Take(ArrayBytes + (8L * count));
        object?[] tuple = [.. CollectionsMarshal.AsSpan(items)[^count..]];
        items.RemoveRange(items.Count - count, count);
        return tuple;
    }

    public void Mark()
    {
        budget.Take(MarkBytes);
        marks.Add(items.Count);
    }

    /// <summary>Removes the last mark and counts the objects above it.</summary>
    public int CountToMark()
    {
        if (marks.Count == 0)
        {
            throw new InvalidDataException("a mark is missing on the stack");
        }

        var count = items.Count - marks[^1];
        marks.RemoveAt(marks.Count - 1);
        return count;
    }

    /// <summary>The topmost objects go into the list below them; what is only named takes in anything and keeps nothing.</summary>
    public void Append(int count)
    {
        Require(count + 1);
        if (items[^(count + 1)] is TorchOpaque)
        {
            items.RemoveRange(items.Count - count, count);
            return;
        }

        if (items[^(count + 1)] is not List<object?> list)
        {
            throw new InvalidDataException($"items are added to {TorchObjects.Describe(items[^(count + 1)])}, not to a list");
        }

        budget.Take((long)ItemBytes * count);
        list.AddRange(CollectionsMarshal.AsSpan(items)[^count..]);
        items.RemoveRange(items.Count - count, count);
    }

    /// <summary>The topmost objects, keys and values by turns, go into the dictionary below them, or nowhere as in <see cref="Append"/>.</summary>
    public void SetItems(int count)
    {
        Require(count + 1);
        if (items[^(count + 1)] is TorchOpaque)
        {
            items.RemoveRange(items.Count - count, count);
            return;
        }

        if (items[^(count + 1)] is not TorchDictionary dictionary)
        {
            throw new InvalidDataException($"items are set in {TorchObjects.Describe(items[^(count + 1)])}, not in a dictionary");
        }

        if (count % 2 != 0)
        {
            throw new InvalidDataException("a key comes without its value");
        }

        for (var i = items.Count - count; i < items.Count; i += 2)
        {
            budget.Take(EntryBytes);
            if (items[i] is string key && !dictionary.TryAdd(key, items[i + 1]))
            {
                throw new InvalidDataException($"the key {key} occurs twice in a dictionary");
            }
        }

        items.RemoveRange(items.Count - count, count);
    }

    public void Remember(long index)
    {
        Require(1);
        budget.Take(MemoBytes);
        memo[index] = items[^1];
    }

    public void Recall(long index) =>
        Push(memo.TryGetValue(index, out var value) ? value : throw new InvalidDataException($"the memo has no entry {NumberText.Of(index)}"));

    /// <summary>Requires so many objects on the stack above the last mark.</summary>
    private void Require(int count)
    {
        if (items.Count - (marks.Count > 0 ? marks[^1] : 0) < count)
        {
            throw new InvalidDataException("an object is missing on the stack");
        }
    }
}
