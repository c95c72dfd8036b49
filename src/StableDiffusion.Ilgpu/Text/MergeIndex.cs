using System.Numerics;
using System.Runtime.CompilerServices;

namespace StableDiffusion.Ilgpu.Text;

/// <summary>The ranks of merges by their pairs of ids; a plain hash table for the reason that <see cref="TokenIndex"/> gives.</summary>
internal sealed class MergeIndex
{
    /// <summary>The rank of pairs that do not merge; above all others.</summary>
    public const int None = int.MaxValue;

    // Differs from run to run, so that no file can be made whose pairs all meet in one slot.
    private static readonly uint Seed = (uint)Random.Shared.Next() | 1;

    private readonly (int Left, int Right, int Merged)[] merges;
    private readonly int[] slots;   // 0: free; else 1 + the rank
    private int count;

    /// <summary>Creates an empty index for at most so many merges.</summary>
    public MergeIndex(int capacity)
    {
        merges = new (int, int, int)[capacity];
        slots = new int[BitOperations.RoundUpToPowerOf2((uint)Math.Max(2 * capacity, 4))];
    }

    /// <summary>Adds the merge of the next rank; false where the pair is there already.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public bool TryAdd(int left, int right, int merged)
    {
        int slot = SlotOf(left, right);
        if (slots[slot] != 0)
        {
            return false;
        }

        merges[count] = (left, right, merged);
        slots[slot] = ++count;
        return true;
    }

    /// <summary>The rank of the pair, or <see cref="None"/>.</summary>
    public int RankOf(int left, int right) => slots[SlotOf(left, right)] is var entry and > 0 ? entry - 1 : None;

    /// <summary>The id that the merge of this rank makes.</summary>
    public int MergedBy(int rank) => merges[rank].Merged;

    // The slot that holds the pair, or the free one that it would take. At least half of the slots are free.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private int SlotOf(int left, int right)
    {
        int mask = slots.Length - 1;
        uint hash = ((uint)left * 0x9E3779B1) ^ ((uint)right * 0x85EBCA77);
        hash *= Seed;
        int slot = (int)(hash ^ (hash >> 15)) & mask;
        while (slots[slot] != 0 && (merges[slots[slot] - 1].Left != left || merges[slots[slot] - 1].Right != right))
        {
            slot = (slot + 1) & mask;
        }

        return slot;
    }
}
