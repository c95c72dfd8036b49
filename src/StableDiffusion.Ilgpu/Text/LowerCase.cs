using System.Globalization;
using System.Text;

namespace StableDiffusion.Ilgpu.Text;

/// <summary>
/// Lower case as Unicode's full mapping has it (and Python's str.lower): on top of the mapping of single characters, U+0130 becomes two
/// characters and a capital sigma that ends a word becomes a final one.
/// </summary>
internal static class LowerCase
{
    private const int CapitalIWithDot = 0x130, CombiningDotAbove = 0x307, CapitalSigma = 0x3A3, FinalSigma = 0x3C2, Sigma = 0x3C3;

    /// <summary>The code points of a word in lower case; the word is all that decides whether a sigma is final.</summary>
    public static int[] Of(List<int> word)
    {
        var lower = new List<int>(word.Count);
        for (int i = 0; i < word.Count; i++)
        {
            if (word[i] == CapitalIWithDot)
            {
                lower.Add('i');
                lower.Add(CombiningDotAbove);
            }
            else if (word[i] == CapitalSigma)
            {
                lower.Add(IsFinal(word, i) ? FinalSigma : Sigma);
            }
            else
            {
                lower.Add(Rune.ToLowerInvariant(new Rune(word[i])).Value);
            }
        }

        return [.. lower];
    }

    // Unicode's condition Final_Sigma: a cased letter before, none after; case-ignorable characters between do not count.
    private static bool IsFinal(List<int> word, int sigma)
    {
        int before = sigma - 1, after = sigma + 1;
        while (before >= 0 && IsCaseIgnorable(word[before]))
        {
            before--;
        }

        while (after < word.Count && IsCaseIgnorable(word[after]))
        {
            after++;
        }

        return before >= 0 && IsCased(word[before]) && !(after < word.Count && IsCased(word[after]));
    }

    // Unicode's property Case_Ignorable: the categories, and the characters that may stand within a word (Word_Break MidLetter,
    // MidNumLet and Single_Quote).
    private static bool IsCaseIgnorable(int code) =>
        CharUnicodeInfo.GetUnicodeCategory(code) is UnicodeCategory.NonSpacingMark or UnicodeCategory.EnclosingMark
            or UnicodeCategory.Format or UnicodeCategory.ModifierLetter or UnicodeCategory.ModifierSymbol
        || code is '\'' or '.' or ':' or 0xB7 or 0x387 or 0x55F or 0x5F4 or 0x2018 or 0x2019 or 0x2024 or 0x2027
            or 0xFE13 or 0xFE52 or 0xFE55 or 0xFF07 or 0xFF0E or 0xFF1A;

    // Unicode's property Cased, without those of its characters that are case-ignorable (they are skipped before this is asked).
    private static bool IsCased(int code) =>
        CharUnicodeInfo.GetUnicodeCategory(code) is UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter
            or UnicodeCategory.TitlecaseLetter
        || code is 0xAA or 0xBA or >= 0x2160 and <= 0x217F or >= 0x24B6 and <= 0x24E9
            or >= 0x1F130 and <= 0x1F149 or >= 0x1F150 and <= 0x1F169 or >= 0x1F170 and <= 0x1F189;
}
