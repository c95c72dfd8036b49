using System.Text;
using StableDiffusion.Ilgpu.Text;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>
/// The tokenizer's own Unicode: canonical composition and lower case. The expected values are what Python's unicodedata and str.lower give.
/// </summary>
public sealed class ClipTokenizerTextTests
{
    [Theory]
    [InlineData("plain ASCII", "plain ASCII")]
    [InlineData("e\u0301", "\u00e9")]                          // composes
    [InlineData("\u00e9", "\u00e9")]                           // stays composed
    [InlineData("\u212b", "\u00c5")]                           // ANGSTROM SIGN: a singleton
    [InlineData("\u0344", "\u0308\u0301")]                     // a decomposition that never composes
    [InlineData("\u0958", "\u0915\u093c")]                     // excluded from composition
    [InlineData("\u1e9b\u0323", "\u1e9b\u0323")]               // composed with one mark, and none with two
    [InlineData("s\u0323\u0307", "\u1e69")]                    // two steps
    [InlineData("s\u0307\u0323", "\u1e69")]                    // reordered first
    [InlineData("a\u0315\u0300\u05ae\u0300b", "\u00e0\u05ae\u0300\u0315b")]
    [InlineData("a\u0328\u0301", "\u0105\u0301")]              // a mark of a higher class is not in the way
    [InlineData("a\u0334\u0301", "\u00e1\u0334")]
    [InlineData("\u0c46\u0334\u0c56", "\u0c48\u0334")]
    [InlineData("\u0b47\u0300\u0b3e", "\u0b47\u0300\u0b3e")]   // blocked by the mark between
    [InlineData("a\u0301\u0300", "\u00e1\u0300")]              // the second of one class stays
    [InlineData("\u1100\u1161\u11a8", "\uac01")]               // Hangul: leading, vowel, trailing
    [InlineData("\uac00\u11a8", "\uac01")]
    [InlineData("\uac01\u11a8", "\uac01\u11a8")]               // has its trailing consonant already
    [InlineData("\uac00\u11a7", "\uac00\u11a7")]               // one below the first trailing consonant
    [InlineData("\uf900", "\u8c48")]                           // a compatibility ideograph
    [InlineData("\ud834\udd5e", "\ud834\udd57\ud834\udd65")]   // MUSICAL SYMBOL HALF NOTE, outside the BMP
    [InlineData("\ud804\udc99\ud804\udcba", "\ud804\udc9a")]   // KAITHI LETTER DDDHA
    public void Composes(string text, string expected) => Assert.Equal(expected, Text(CanonicalComposition.Compose(Codes(text))));

    [Theory]
    [InlineData("A", "a")]
    [InlineData("\u0130", "i\u0307")]
    [InlineData("\u1e9e", "\u00df")]
    [InlineData("\u00df", "\u00df")]
    [InlineData("\ud801\udc00", "\ud801\udc28")]               // DESERET CAPITAL LETTER LONG I
    [InlineData("\u039f\u0394\u039f\u03a3", "\u03bf\u03b4\u03bf\u03c2")]
    [InlineData("\u03a3", "\u03c3")]                           // nothing before it
    [InlineData("\u0391\u03a3\u0391", "\u03b1\u03c3\u03b1")]
    [InlineData("\u0391\u03a3\u0301.", "\u03b1\u03c2\u0301.")] // what is ignorable behind it does not count
    [InlineData("\u0391\u03a3'\u0391", "\u03b1\u03c3'\u03b1")]
    [InlineData("\u0391.\u03a3", "\u03b1.\u03c2")]
    [InlineData("1\u03a3", "1\u03c3")]
    [InlineData("\u03a3\u03a3", "\u03c3\u03c2")]
    [InlineData("\u2160\u03a3", "\u2170\u03c2")]               // a Roman numeral is cased
    public void Lowers(string word, string expected) => Assert.Equal(expected, Text(LowerCase.Of(Codes(word))));

    /// <summary>A prompt of a foreign picture; in squared time none of these would end.</summary>
    [Fact]
    public void A_letter_may_have_a_million_marks()
    {
        // An acute above, class 230, and a dot below, class 220.
        const int count = 1_000_000;
        var composed = CanonicalComposition.Compose([.. Enumerable.Range(0, count).SelectMany(_ => new[] { 0x301, 0x323 })]);
        Assert.Equal([.. Enumerable.Repeat(0x323, count), .. Enumerable.Repeat(0x301, count)], composed);
    }

    /// <summary>As by the definition, which takes squared time.</summary>
    [Theory]
    [InlineData("a", 1000)]
    [InlineData("ab", 1000)]
    [InlineData("!?", 1000)]
    [InlineData("aehilnorst", 20)]
    [InlineData("aehilnorst", 5000)]
    [InlineData("abcdefghijklmnopqrstuvwxyz", 3000)]
    public void Words_of_any_length_are_merged_pass_by_pass(string alphabet, int length)
    {
        var table = BuiltInTable.Read();
        var random = new Random(length);
        for (var i = 0; i < 5; i++)
        {
            int[] letters = [.. Enumerable.Range(0, length).Select(_ => table.Letters[alphabet[random.Next(alphabet.Length)]]), table.LastLetters[alphabet[0]]];
            List<int> expected = [1, 2, .. letters], actual = [1, 2, .. letters];
            MergePassByPass(table.Merges, expected, 2);
            table.Merge(actual, 2);
            Assert.NotEqual(letters.Length + 2, expected.Count);
            Assert.Equal(expected, actual);
        }
    }

    /// <summary>All occurrences of the pair of the lowest rank, from the left, until no pair is left that merges.</summary>
    private static void MergePassByPass(MergeIndex merges, List<int> ids, int start)
    {
        while (true)
        {
            int best = MergeIndex.None, first = start;
            for (int i = start; i + 1 < ids.Count; i++)
            {
                int rank = merges.RankOf(ids[i], ids[i + 1]);
                if (rank < best)
                {
                    (best, first) = (rank, i);
                }
            }

            if (best == MergeIndex.None)
            {
                return;
            }

            int left = ids[first], right = ids[first + 1], merged = merges.MergedBy(best), end = first;
            for (int i = first; i < ids.Count; i++)
            {
                if (ids[i] == left && i + 1 < ids.Count && ids[i + 1] == right)
                {
                    ids[end++] = merged;
                    i++;
                }
                else
                {
                    ids[end++] = ids[i];
                }
            }

            ids.RemoveRange(end, ids.Count - end);
        }
    }

    private static List<int> Codes(string text) => [.. text.EnumerateRunes().Select(rune => rune.Value)];

    private static string Text(IEnumerable<int> codes) => string.Concat(codes.Select(code => new Rune(code).ToString()));
}
