using System.Text.Json;
using StableDiffusion.Ilgpu.Text;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>The tokenizer against the reference's cases, with every vocabulary there is.</summary>
[Trait("Kind", "Reference")]
public sealed class ClipTokenizerTests
{
    private static readonly string DemoFolder = Path.Combine(ReferenceData.Repository, "weights", "demo", "tokenizer");

    private static readonly string VocabularyPath = ReferenceData.PathOf("clip-tokenizer", "vocab.json");

    private static readonly string MergesPath = ReferenceData.PathOf("clip-tokenizer", "merges.txt");

    /// <summary>Null where the set has cases and no vocabulary: the table is CLIP's in any set.</summary>
    private static readonly ClipTokenizer? Reference =
        File.Exists(VocabularyPath) && File.Exists(MergesPath) ? ClipTokenizer.Load(VocabularyPath, MergesPath) : null;

    private static readonly ClipTokenizer Demo = ClipTokenizer.Load(
        Path.Combine(DemoFolder, "vocab.json"), Path.Combine(DemoFolder, "merges.txt"));

    private static readonly List<Case> Cases = ReadCases();

    [Fact]
    public void The_process_runs_without_ICU()
    {
        // There Normalize does nothing, so that the cases below show the tokenizer's own composition.
        Assert.True(AppContext.TryGetSwitch("System.Globalization.Invariant", out bool invariant) && invariant);
        Assert.Equal(2, "e\u0301".Normalize().Length);
    }

    [Fact]
    public void All_cases_with_the_reference_vocabulary() => WithReference(reference => Check("reference vocabulary", reference));

    [Fact]
    public void All_cases_with_the_built_in_table() => Check("built-in table", ClipTokenizer.BuiltIn);

    [Fact]
    public void All_cases_with_the_bundled_models_files() => Check("bundled model", Demo);

    [Fact]
    public void The_built_in_table_has_the_ids_of_the_reference_vocabulary() => WithReference(reference =>
    {
        using var vocabulary = JsonDocument.Parse(File.ReadAllBytes(VocabularyPath));
        var expected = vocabulary.RootElement.EnumerateObject().ToDictionary(token => token.Name, token => token.Value.GetInt32());

        Assert.Equal(expected.Count, ClipTokenizer.BuiltIn.VocabularySize);
        Assert.Equal(expected.Count, reference.VocabularySize);
        Assert.All(expected, token => Assert.Equal(token.Value, reference.Find(token.Key)));
        Assert.Equal(expected["<|startoftext|>"], ClipTokenizer.BuiltIn.StartOfText);
        Assert.Equal(expected["<|endoftext|>"], ClipTokenizer.BuiltIn.EndOfText);
        // Finding makes the texts anew each time, so a sample; the tokens' order makes any slip shift all that follow.
        foreach (var (token, id) in expected.Where(token => token.Value % 997 == 0 || token.Value >= expected.Count - 3))
        {
            Assert.Equal(id, ClipTokenizer.BuiltIn.Find(token));
        }
    });

    [Fact]
    public void The_built_in_table_has_the_merges_of_the_reference() => WithReference(reference =>
    {
        string[] tokens = new string[reference.VocabularySize];
        using var vocabulary = JsonDocument.Parse(File.ReadAllBytes(VocabularyPath));
        foreach (var token in vocabulary.RootElement.EnumerateObject())
        {
            tokens[token.Value.GetInt32()] = token.Name;
        }

        byte[] pairs = File.ReadAllBytes(Path.Combine(ReferenceData.Repository, "weights", "clip-tokenizer", "merges.bin"));
        var merges = Enumerable.Range(0, pairs.Length / 4)
            .Select(rank => $"{tokens[BitConverter.ToUInt16(pairs, 4 * rank)]} {tokens[BitConverter.ToUInt16(pairs, 4 * rank + 2)]}");
        var expected = File.ReadAllLines(MergesPath).Skip(1).Where(line => line.Length > 0);
        Assert.Equal(expected, merges);
    });

    [Theory]
    [InlineData("<|endoftext|>", 49407)]
    [InlineData("!", 0)]
    [InlineData("cat</w>", 2368)]
    public void Finds_a_tokens_id(string token, int id)
    {
        Assert.Equal(id, ClipTokenizer.BuiltIn.Find(token));
        Assert.Equal(id, Demo.Find(token));
    }

    [Fact]
    public void Finds_no_id_for_what_is_no_token()
    {
        Assert.Null(ClipTokenizer.BuiltIn.Find("no such token"));
        Assert.Null(Demo.Find("no such token"));
        Assert.Null(Demo.Find(""));
    }

    [Fact]
    public void Pads_as_Stable_Diffusion_2_does()
    {
        var tokenizer = ClipTokenizer.BuiltIn;
        int padding = tokenizer.Find("!")!.Value;
        int passed = 0;
        foreach (var item in Cases)
        {
            // The reference gives the first generation's ids; the second differs behind the first end of text.
            int end = Array.IndexOf(item.Padded, tokenizer.EndOfText, Math.Min(item.Ids.Length, item.Padded.Length - 2) + 1);
            int[] expected = [.. item.Padded[..(end + 1)], .. Enumerable.Repeat(0, item.Padded.Length - end - 1)];
            Assert.Equal(expected, tokenizer.Encode(item.Text, item.Padded.Length, padding));
            passed++;
        }

        Print($"padded with 0: {passed} of {Cases.Count} cases");
    }

    [Fact]
    public void Cuts_what_does_not_fit_and_keeps_the_end()
    {
        var tokenizer = ClipTokenizer.BuiltIn;
        const string text = "a photograph of an astronaut riding a horse";
        int[] ids = tokenizer.Encode(text);
        Assert.Equal(8, ids.Length);
        Assert.Equal([tokenizer.StartOfText, .. ids[..3], tokenizer.EndOfText], tokenizer.Encode(text, 5, 7));
        Assert.Equal([tokenizer.StartOfText, .. ids, tokenizer.EndOfText, 7], tokenizer.Encode(text, 11, 7));
        Assert.Equal([tokenizer.StartOfText, tokenizer.EndOfText], tokenizer.Encode("horse", 2, 7));
        Assert.Throws<ArgumentOutOfRangeException>(() => tokenizer.Encode("horse", 1, 7));
    }

    [Fact]
    public void Drops_halves_of_surrogate_pairs() =>
        Assert.Equal(ClipTokenizer.BuiltIn.Encode("catdog"), ClipTokenizer.BuiltIn.Encode("cat\ud83d" + "dog\ude00"));

    [Fact]
    public void Folds_the_long_s_in_contractions()
    {
        // The pattern ignores case, so 's matches here and keeps the s apart from the letters that follow.
        var tokenizer = ClipTokenizer.BuiltIn;
        Assert.Equal([.. tokenizer.Encode("it'\u017f"), .. tokenizer.Encode("un")], tokenizer.Encode("it'\u017fun"));
    }

    private static void WithReference(Action<ClipTokenizer> check)
    {
        if (Reference is null)
        {
            ReferenceData.LeaveOut("clip-tokenizer, reference vocabulary", $"{VocabularyPath} is not in the set");
        }
        else
        {
            check(Reference);
        }
    }

    private static void Check(string vocabulary, ClipTokenizer tokenizer)
    {
        var wrong = new List<string>();
        foreach (var item in Cases)
        {
            int[] ids = tokenizer.Encode(item.Text);
            int[] padded = tokenizer.Encode(item.Text, item.Padded.Length, tokenizer.EndOfText);
            if (!ids.AsSpan().SequenceEqual(item.Ids) || !padded.AsSpan().SequenceEqual(item.Padded))
            {
                wrong.Add($"case {item.Id} ({item.Kind}): [{string.Join(' ', ids)}], not [{string.Join(' ', item.Ids)}]");
            }
        }

        Assert.NotEmpty(Cases);
        Array.ForEach([.. wrong], Print);
        ReferenceData.Report($"clip-tokenizer, {vocabulary}, wrong ones of {Cases.Count} cases", wrong.Count, 0);
    }

    private static void Print(string line) => TestContext.Current.TestOutputHelper?.WriteLine(line);

    private static List<Case> ReadCases()
    {
        var cases = new List<Case>();
        foreach (string line in File.ReadLines(ReferenceData.PathOf("clip-tokenizer", "cases.jsonl")))
        {
            using var json = JsonDocument.Parse(line);
            var root = json.RootElement;
            int[] Ids(string key) => [.. root.GetProperty(key).EnumerateArray().Select(id => id.GetInt32())];
            string Text(string key) => root.GetProperty(key).GetString()!;
            cases.Add(new Case(root.GetProperty("id").GetInt32(), Text("kind"), Text("text"), Ids("ids"), Ids("ids77")));
        }

        return cases;
    }

    private sealed record Case(int Id, string Kind, string Text, int[] Ids, int[] Padded);
}
