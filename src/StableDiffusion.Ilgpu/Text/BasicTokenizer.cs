using System.Globalization;

namespace StableDiffusion.Ilgpu.Text;

/// <summary>
/// The front end of Hugging Face's slow CLIPTokenizer (its BasicTokenizer): control characters dropped, ideographs set apart, canonical
/// composition, split at white space, lower case.
/// </summary>
internal static class BasicTokenizer
{
    /// <summary>The cleaned words of the text as code points; no word is empty or holds white space.</summary>
    public static List<int[]> Words(string text)
    {
        var words = new List<int[]>();
        var word = new List<int>();
        foreach (int code in CanonicalComposition.Compose(Clean(text)))
        {
            if (!IsSeparator(code))
            {
                word.Add(code);
            }
            else if (word.Count > 0)
            {
                words.Add(LowerCase.Of(word));
                word.Clear();
            }
        }

        if (word.Count > 0)
        {
            words.Add(LowerCase.Of(word));
        }

        return words;
    }

    private static List<int> Clean(string text)
    {
        var clean = new List<int>(text.Length);
        // Halves of surrogate pairs come as U+FFFD, which is dropped, as the halves themselves have to be.
        foreach (var rune in text.EnumerateRunes())
        {
            int code = rune.Value;
            if (code is '\t' or '\n' or '\r' || CharUnicodeInfo.GetUnicodeCategory(code) == UnicodeCategory.SpaceSeparator)
            {
                clean.Add(' ');
            }
            else if (code == 0xFFFD || IsControl(code))
            {
                continue;
            }
            else if (IsIdeograph(code))
            {
                clean.Add(' ');
                clean.Add(code);
                clean.Add(' ');
            }
            else
            {
                clean.Add(code);
            }
        }

        return clean;
    }

    // Line and paragraph separators pass the cleaning (they are neither Zs nor C*) and end words all the same.
    private static bool IsSeparator(int code) => code is ' ' or 0x2028 or 0x2029;

    // All of Unicode's categories C*, unassigned characters included.
    private static bool IsControl(int code) => CharUnicodeInfo.GetUnicodeCategory(code) is UnicodeCategory.Control or UnicodeCategory.Format
        or UnicodeCategory.Surrogate or UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned;

    // The blocks that BERT's tokenizer calls Chinese characters.
    private static bool IsIdeograph(int code) => code is >= 0x4E00 and <= 0x9FFF or >= 0x3400 and <= 0x4DBF
        or >= 0x20000 and <= 0x2A6DF or >= 0x2A700 and <= 0x2B73F or >= 0x2B740 and <= 0x2B81F or >= 0x2B820 and <= 0x2CEAF
        or >= 0xF900 and <= 0xFAFF or >= 0x2F800 and <= 0x2FA1F;
}
