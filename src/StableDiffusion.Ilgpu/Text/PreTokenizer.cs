using System.Globalization;

namespace StableDiffusion.Ilgpu.Text;

/// <summary>
/// CLIP's pattern, which cuts words into the pieces that byte-pair encoding sees:
/// <c>&lt;\|startoftext\|&gt;|&lt;\|endoftext\|&gt;|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+</c>, ignoring case.
/// Written out by hand because .NET's regular expressions see UTF-16 units, not characters.
/// </summary>
internal static class PreTokenizer
{
    private const int LongS = 0x17F;

    private static readonly string[] Literals =
        [BytePairTable.StartOfTextToken, BytePairTable.EndOfTextToken, "'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];

    /// <summary>The length of the pattern's match at the start of the code points of a lower-case word; at least 1.</summary>
    public static int MatchLength(ReadOnlySpan<int> text)
    {
        foreach (string literal in Literals)
        {
            if (StartsWith(text, literal))
            {
                return literal.Length;
            }
        }

        if (IsNumber(text[0]))
        {
            return 1;
        }

        bool letters = IsLetter(text[0]);
        int length = 1;
        while (length < text.Length && IsLetter(text[length]) == letters && !IsNumber(text[length]))
        {
            length++;
        }

        return length;
    }

    private static bool IsLetter(int code) => CharUnicodeInfo.GetUnicodeCategory(code) is UnicodeCategory.UppercaseLetter
        or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter or UnicodeCategory.ModifierLetter
        or UnicodeCategory.OtherLetter;

    private static bool IsNumber(int code) => CharUnicodeInfo.GetUnicodeCategory(code) is UnicodeCategory.DecimalDigitNumber
        or UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber;

    // Ignoring case matters for one character only, since the text is in lower case: U+017F folds to s.
    private static bool StartsWith(ReadOnlySpan<int> text, string literal)
    {
        if (text.Length < literal.Length)
        {
            return false;
        }

        for (int i = 0; i < literal.Length; i++)
        {
            if (text[i] != literal[i] && !(text[i] == LongS && literal[i] == 's'))
            {
                return false;
            }
        }

        return true;
    }
}
