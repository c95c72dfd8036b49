using System.Runtime.InteropServices;

namespace StableDiffusion.Ilgpu.Text;

/// <summary>
/// Unicode's normalization form C (Unicode Standard Annex 15). <see cref="string.Normalize()"/> does nothing, silently, where .NET runs
/// without ICU.
/// </summary>
internal static class CanonicalComposition
{
    // No character below this one composes with one before it, has a combining class or is replaced.
    private const int FirstAffected = 0x300;

    // Hangul syllables are numbered by leading consonant, vowel and trailing consonant, the last of which may be missing.
    private const int Syllables = 0xAC00, Leading = 0x1100, Vowels = 0x1161, Trailing = 0x11A7;
    private const int LeadingCount = 19, VowelCount = 21, TrailingCount = 28, SyllableCount = LeadingCount * VowelCount * TrailingCount;

    /// <summary>The code points of a text in form C.</summary>
    public static List<int> Compose(List<int> text)
    {
        bool affected = false;
        foreach (int code in text)
        {
            affected |= code >= FirstAffected;
        }

        return affected ? Compose(text, NormalizationTable.Instance) : text;
    }

    private static List<int> Compose(List<int> text, NormalizationTable table)
    {
        var decomposed = new List<int>(text.Count);
        foreach (int code in text)
        {
            AddDecomposed(decomposed, code, table);
        }

        Reorder(decomposed, table);
        return Recompose(decomposed, table);
    }

    private static void AddDecomposed(List<int> decomposed, int code, NormalizationTable table)
    {
        int syllable = code - Syllables;
        if (syllable is >= 0 and < SyllableCount)
        {
            decomposed.Add(Leading + syllable / (VowelCount * TrailingCount));
            decomposed.Add(Vowels + syllable / TrailingCount % VowelCount);
            if (syllable % TrailingCount != 0)
            {
                decomposed.Add(Trailing + syllable % TrailingCount);
            }
        }
        else if (table.Decompose(code) is var (first, second))
        {
            AddDecomposed(decomposed, first, table);
            if (second != 0)
            {
                AddDecomposed(decomposed, second, table);
            }
        }
        else
        {
            decomposed.Add(code);
        }
    }

    // Runs of combining characters (class above 0) in the order of their classes, those of one class as they stood.
    private static void Reorder(List<int> codes, NormalizationTable table)
    {
        for (int i = 0; i < codes.Count; i++)
        {
            int start = i;
            while (i < codes.Count && table.CombiningClass(codes[i]) > 0)
            {
                i++;
            }

            if (i > start + 1)
            {
                int[] run = [.. codes.GetRange(start, i - start).OrderBy(table.CombiningClass)];
                run.CopyTo(CollectionsMarshal.AsSpan(codes)[start..]);
            }
        }
    }

    private static List<int> Recompose(List<int> codes, NormalizationTable table)
    {
        const int none = -1;
        var composed = new List<int>(codes.Count);
        int starter = none;   // where the last character of class 0 stands
        int between = none;   // the class of the last character after it that stayed
        foreach (int code in codes)
        {
            int combining = table.CombiningClass(code);
            if (starter != none && between < combining
                && (ComposeHangul(composed[starter], code) ?? table.Compose(composed[starter], code)) is { } composite)
            {
                composed[starter] = composite;
                continue;
            }

            (starter, between) = combining == 0 ? (composed.Count, none) : (starter, combining);
            composed.Add(code);
        }

        return composed;
    }

    private static int? ComposeHangul(int first, int second)
    {
        int leading = first - Leading, vowel = second - Vowels, syllable = first - Syllables, trailing = second - Trailing;
        if (leading is >= 0 and < LeadingCount && vowel is >= 0 and < VowelCount)
        {
            return Syllables + (leading * VowelCount + vowel) * TrailingCount;
        }

        bool open = syllable is >= 0 and < SyllableCount && syllable % TrailingCount == 0;
        return open && trailing is > 0 and < TrailingCount ? first + trailing : null;
    }
}
