using System.Numerics;
using System.Runtime.CompilerServices;

namespace StableDiffusion.Ilgpu.Text;

/// <summary>
/// Ids by the UTF-8 texts of tokens. A plain hash table on bytes: reading a vocabulary is part of every start of the program, where
/// a dictionary of strings costs about twice as much, mostly in code that is not yet optimised.
/// </summary>
internal sealed class TokenIndex
{
    // Differs from run to run, so that no file can be made whose texts all meet in one slot.
    private static readonly uint Seed = (uint)Random.Shared.Next();

    private readonly byte[] texts;
    private readonly int[] ends;    // entry i's text is what lies between ends[i] and ends[i + 1]
    private readonly int[] ids;
    private readonly int[] slots;   // 0: free; else 1 + the entry

    /// <summary>Creates an empty index for at most so many tokens with so many bytes of text altogether.</summary>
    public TokenIndex(int capacity, int textCapacity)
    {
        texts = new byte[textCapacity];
        ends = new int[capacity + 1];
        ids = new int[capacity];
        slots = new int[BitOperations.RoundUpToPowerOf2((uint)Math.Max(2 * capacity, 4))];
    }

    public int Count { get; private set; }

    /// <summary>The entries' ids in the order in which they were added.</summary>
    public ReadOnlySpan<int> Ids => ids.AsSpan(0, Count);

    /// <summary>Where the text of the next token is to be written before <see cref="TryAdd"/>.</summary>
    public Span<byte> NextText => texts.AsSpan(ends[Count]);

    /// <summary>The text of the entry that was added as number <paramref name="entry"/>.</summary>
    public ReadOnlySpan<byte> TextOf(int entry) => texts.AsSpan(ends[entry], ends[entry + 1] - ends[entry]);

    /// <summary>Adds the token whose text stands in <see cref="NextText"/>; false where the text is there already.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public bool TryAdd(int length, int id)
    {
        int slot = SlotOf(NextText[..length], []);
        if (slots[slot] != 0)
        {
            return false;
        }

        ids[Count] = id;
        ends[Count + 1] = ends[Count] + length;
        slots[slot] = ++Count;
        return true;
    }

    /// <summary>The id of the token whose text is the two parts joined; null where there is none.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public int? Find(ReadOnlySpan<byte> text, ReadOnlySpan<byte> end = default)
    {
        int entry = slots[SlotOf(text, end)] - 1;
        return entry < 0 ? null : ids[entry];
    }

    // The slot that holds the text, or the free one that it would take. At least half of the slots are free.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private int SlotOf(ReadOnlySpan<byte> text, ReadOnlySpan<byte> end)
    {
        uint hash = 2166136261 ^ Seed; // FNV-1a
        foreach (byte value in text)
        {
            hash = (hash ^ value) * 16777619;
        }

        foreach (byte value in end)
        {
            hash = (hash ^ value) * 16777619;
        }

        int mask = slots.Length - 1;
        int slot = (int)(hash ^ (hash >> 15)) & mask;
        while (slots[slot] != 0)
        {
            var other = TextOf(slots[slot] - 1);
            if (other.Length == text.Length + end.Length
                && other[..text.Length].SequenceEqual(text) && other[text.Length..].SequenceEqual(end))
            {
                break;
            }

            slot = (slot + 1) & mask;
        }

        return slot;
    }
}
