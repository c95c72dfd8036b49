using System.Text;

namespace StableDiffusion.Ilgpu.Text;

/// <summary>A byte-level vocabulary with its merges, and byte-pair encoding with them.</summary>
/// <param name="count">The number of tokens; ids run from 0 to one less.</param>
/// <param name="merges">Which pairs of tokens merge, and to what.</param>
/// <param name="find">The id of a token's text; null where there is none.</param>
internal sealed class BytePairTable(int count, MergeIndex merges, Func<string, int?> find)
{
    public const string StartOfTextToken = "<|startoftext|>", EndOfTextToken = "<|endoftext|>", EndOfWord = "</w>";

    public int Count => count;

    public required int StartOfText { get; init; }

    public required int EndOfText { get; init; }

    /// <summary>For every byte value the id of its letter within a word.</summary>
    public required int[] Letters { get; init; }

    /// <summary>For every byte value the id of its letter at the end of a word.</summary>
    public required int[] LastLetters { get; init; }

    public MergeIndex Merges => merges;

    public int? Find(string token) => find(token);

    /// <summary>
    /// Appends the ids of one piece of text, given as code points: the special tokens as themselves, all else merged from the letters
    /// of its UTF-8 bytes.
    /// </summary>
    public void Encode(ReadOnlySpan<int> piece, List<int> ids)
    {
        var utf8 = new byte[4 * piece.Length];
        int length = 0;
        foreach (int code in piece)
        {
            length += new Rune(code).EncodeToUtf8(utf8.AsSpan(length));
        }

        Encode(utf8.AsSpan(0, length), ids);
    }

    private void Encode(ReadOnlySpan<byte> utf8, List<int> ids)
    {
        if (utf8.SequenceEqual("<|startoftext|>"u8))
        {
            ids.Add(StartOfText);
        }
        else if (utf8.SequenceEqual("<|endoftext|>"u8))
        {
            ids.Add(EndOfText);
        }
        else
        {
            int start = ids.Count;
            foreach (byte value in utf8[..^1])
            {
                ids.Add(Letters[value]);
            }

            ids.Add(LastLetters[utf8[^1]]);
            Merge(ids, start);
        }
    }

    /// <summary>
    /// All occurrences of the pair of the lowest rank are merged, from the left, until no pair is left that merges. To look at all pairs in each pass would take squared
    /// time: they wait in the order in which passes come to them, and those that a pass makes join them after it.
    /// </summary>
    internal void Merge(List<int> ids, int start)
    {
        // Tokens stay at the place of their first letter. The next one's place is the count behind the last one, and -1 for what has become part of another.
        var (tokens, count) = (ids[start..], ids.Count - start);
        var (before, after) = (new int[count], new int[count]);
        for (int i = 0; i < count; i++)
        {
            (before[i], after[i]) = (i - 1, i + 1);
        }

        var waiting = new PriorityQueue<int, (int Rank, int Left, int Right)>();
        var changed = Enumerable.Range(0, count).ToList();
        do
        {
            foreach (int left in changed)
            {
                if (after[left] >= 0 && after[left] < count && merges.RankOf(tokens[left], tokens[after[left]]) is var rank and not MergeIndex.None)
                {
                    waiting.Enqueue(left, (rank, left, after[left]));
                }
            }

            changed.Clear();
            int pass = MergeIndex.None;
            while (waiting.TryPeek(out int left, out var pair) && (pass == MergeIndex.None || pair.Rank == pass))
            {
                (pass, int right) = (pair.Rank, pair.Right);
                waiting.Dequeue();
                if (after[left] != right || merges.RankOf(tokens[left], tokens[right]) != pass)
                {
                    continue;
                }

                tokens[left] = merges.MergedBy(pass);
                (after[left], after[right]) = (after[right], -1);
                if (after[left] < count)
                {
                    before[after[left]] = left;
                }

                changed.Add(left);
                if (before[left] >= 0)
                {
                    changed.Add(before[left]);
                }
            }
        }
        while (waiting.Count > 0 || changed.Count > 0);

        ids.RemoveRange(start, count);
        for (int i = 0; i < count; i = after[i])
        {
            ids.Add(tokens[i]);
        }
    }
}
