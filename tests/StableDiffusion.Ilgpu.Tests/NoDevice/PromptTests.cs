using System.Diagnostics;
using StableDiffusion.Ilgpu.Tests.Samples;
using StableDiffusion.Ilgpu.Text;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Prompt syntax beyond the reference's cases: any text has a meaning, found soon.</summary>
public sealed class PromptTests
{
    private static readonly ClipTokenizer Tokenizer = ClipTokenizer.BuiltIn;

    [Fact]
    public void Any_of_100_000_random_prompts_has_a_consistent_meaning()
    {
        const int count = 100_000;
        var changing = 0;
        Parallel.For(0, count, number =>
        {
            var random = new Random(number);
            var (prompt, steps) = (PromptSamples.Make(random, 24), 1 + random.Next(12));
            try
            {
                var problem = PromptSamples.Check(prompt, steps);
                Assert.True(problem is null, $"prompt {number}, {System.Text.Json.JsonSerializer.Serialize(prompt)}: {problem}");
            }
            catch (Exception e) when (e is not Xunit.Sdk.XunitException)
            {
                Assert.Fail($"prompt {number}, {System.Text.Json.JsonSerializer.Serialize(prompt)}: {e}");
            }

            Interlocked.Add(ref changing, PromptSchedule.Parse(prompt, steps).Count > 1 ? 1 : 0);
        });
        TestContext.Current.TestOutputHelper?.WriteLine($"{count} prompts, {changing} of them change");
        Assert.True(changing > count / 50, "the samples hardly meet the grammar");
    }

    [Theory]
    [InlineData("(")]
    [InlineData("[")]
    [InlineData("(a")]
    [InlineData("[a:")]
    [InlineData(")")]
    [InlineData("(]")]
    [InlineData("BREAK ")]
    [InlineData("\\")]
    [InlineData(":")]
    [InlineData("[a|b]")]
    public void Long_repetitions_end_soon(string piece) => EndsSoon(string.Concat(Enumerable.Repeat(piece, 100_000)));

    [Theory]
    [InlineData("(", "", ")")]
    [InlineData("[", "a", "]")]
    [InlineData("[", "a", ":b:0.5]")]
    [InlineData("[x|", "a", "]")]
    [InlineData("(a ", "b", ":1.5)")]
    [InlineData("([", "b", "])")]
    public void Deep_nesting_ends_soon(string open, string inside, string close)
    {
        const int depth = 100_000;
        EndsSoon(string.Concat(Enumerable.Repeat(open, depth)) + inside + string.Concat(Enumerable.Repeat(close, depth)));
    }

    [Theory]
    [InlineData("(a:1.2.3)", "a:1.2.3|1.1")]
    [InlineData("(a:.)", "a:.|1.1")]
    [InlineData("(a: 1.5 )", "a|1.5")]
    [InlineData("(a:١.٥)", "a|1.5")]
    [InlineData("a\\b\\", "ab|1")]
    [InlineData("²BREAK _BREAK BREAKé", "²BREAK _BREAK BREAKé|1")]
    [InlineData("(BREAK:1)", "BREAK|-1")]
    [InlineData("((a:99999999999999999999999999999999999999):99999999999999999999999999999999999999)", "a|3.4028234663852886E+38")]
    [InlineData("((a:-99999999999999999999999999999999999999):99999999999999999999999999999999999999)", "a|-3.4028234663852886E+38")]
    public void Weights_where_the_reference_has_no_case(string prompt, string expected)
    {
        var part = Assert.Single(PromptAttention.Parse(prompt), p => p.Text.Length > 0);
        Assert.Equal(expected, string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{part.Text}|{part.Weight}"));
    }

    [Theory]
    [InlineData("[a:b:1e1]", 20, "10 a", "20 b")]
    [InlineData("[a:b:-1]", 4, "4 b")]
    [InlineData("[a:b:0.999]", 4, "3 a", "4 b")]
    [InlineData("[a:b:1e999]", 4, "4 a")]
    [InlineData("[a:b:5e]", 4, "4 [a:b:5e]")]
    [InlineData("[a:b:c:1]", 4, "4 [a:b:c:1]")]
    [InlineData("[|a]", 3, "1 ", "2 a", "3 ")]
    [InlineData("[a|b] |", 3, "3 [a|b] |")]
    [InlineData("x [a:[b|c]:1]", 3, "1 x a", "2 x c", "3 x b")]
    [InlineData("[a:b:1]\\", 3, "3 [a:b:1]\\")]
    [InlineData("[a:b:1]\\\n", 3, "3 [a:b:1]\\\n")]
    [InlineData("([a:b:1)]", 3, "3 ([a:b:1)]")]
    public void Editing_where_the_reference_has_no_case(string prompt, int steps, params string[] expected) =>
        Assert.Equal(expected, PromptSchedule.Parse(prompt, steps).Select(s => $"{s.LastStep} {s.Text}"));

    /// <summary>By the web UI's rule: shares less 1, steps less those of the first pass, which has 10.</summary>
    [Theory]
    [InlineData("[a:b:0.5]", "8 b")]
    [InlineData("[a:b:1.0]", "8 b")]
    [InlineData("[a:b:1.5]", "4 a", "8 b")]
    [InlineData("[a:b:2.5]", "8 a")]
    [InlineData("[a:b:10]", "8 b")]
    [InlineData("[a:b:13]", "3 a", "8 b")]
    [InlineData("[[a:b:0.5]:c:1.25]", "2 b", "8 c")]
    public void Editing_in_a_second_pass(string prompt, params string[] expected) =>
        Assert.Equal(expected, PromptSchedule.Parse(prompt, 8, stepsBefore: 10).Select(s => $"{s.LastStep} {s.Text}"));

    [Fact]
    public void A_learned_tokens_vectors_stay_together_with_their_parts_weight()
    {
        var first = Tokenizer.VocabularySize;
        var learned = Enumerable.Range(first, 5).ToArray();
        var chunks = new PromptChunks(Tokenizer.With([new ExtraToken("my-style", learned)]), 77, 0);
        var cats = string.Concat(Enumerable.Repeat("cat ", 72));
        var split = chunks.Split(PromptAttention.Parse($"{cats}(my-style:1.5) dog"));
        Assert.Equal(2, split.Count);
        Assert.Equal(Tokenizer.EndOfText, split[0].Ids[73]);
        Assert.Equal([0, 0, 0], split[0].Ids[74..]);
        Assert.Equal([Tokenizer.StartOfText, .. learned, .. Tokenizer.Encode("dog"), Tokenizer.EndOfText], split[1].Ids[..8]);
        Assert.Equal([1, 1.5, 1.5, 1.5, 1.5, 1.5, 1, 1], split[1].TokenWeights[..8]);

        // One that no chunk holds fills several.
        var large = new PromptChunks(Tokenizer.With([new ExtraToken("large", [.. Enumerable.Range(first, 100)])]), 77, 0)
            .Split([new PromptPart("cat large", 1)]);
        Assert.Equal([1, 75, 25], large.Select(c => c.Ids.TakeWhile((id, i) => i == 0 || id != Tokenizer.EndOfText).Count() - 1));
    }

    /// <summary>What follows a comma among a full chunk's last 20 tokens moves to the next one; of each chunk its own commas count.</summary>
    [Fact]
    public void A_comma_among_the_last_20_tokens_ends_a_chunk()
    {
        int[] Lengths(params int[] words)
        {
            var text = string.Join(" , ", words.Select(n => string.Join(' ', Enumerable.Repeat("cat", n))));
            return [.. new PromptChunks(Tokenizer, 77, Tokenizer.EndOfText).Split([new PromptPart(text, 1)])
                .Select(c => c.Ids.TakeWhile((id, i) => i == 0 || id != Tokenizer.EndOfText).Count() - 1)];
        }

        // The comma is token 56, or 55.
        Assert.Equal([56, 20], Lengths(55, 20));
        Assert.Equal([75, 1], Lengths(54, 21));

        // Nothing of a second chunk goes by the first one's comma.
        Assert.Equal([56, 75, 1], Lengths(55, 76));
        Assert.Equal([71, 75, 4], Lengths(70, 79));
    }

    [Fact]
    public void A_text_encoder_of_two_places_holds_no_token() => Assert.Equal(
        [Tokenizer.StartOfText, Tokenizer.EndOfText],
        Assert.Single(new PromptChunks(Tokenizer, 2, 0).Split([new PromptPart("a BREAK cat", 1)])).Ids);

    [Fact]
    public void Weighing_keeps_the_mean_or_multiplies_only()
    {
        float[] vectors = [1, 2, 3, 4, 5, 6];
        var chunk = new PromptChunk([0, 1, 2], [1, 2, 0.5]);
        Assert.Equal([1, 2, 6, 8, 2.5f, 3], chunk.Weigh(vectors, keepMean: false));

        // Sums 21 and 22.5.
        double[] expected = [.. new[] { 1, 2, 6, 8, 2.5, 3 }.Select(v => v * 21 / 22.5)];
        Assert.Equal(expected, chunk.Weigh(vectors, keepMean: true).Select(v => (double)v), (a, b) => Math.Abs(a - b) < 1e-6);
        Assert.Same(vectors, new PromptChunk([0, 1, 2], [1, 1, 1]).Weigh(vectors, keepMean: true));

        // A mean of 0 cannot be restored; nothing is divided by it.
        Assert.Equal([2, -2], new PromptChunk([0, 1], [2, 2]).Weigh([1, -1], keepMean: true));
    }

    private static void EndsSoon(string prompt)
    {
        var start = Stopwatch.GetTimestamp();
        Assert.Null(PromptSamples.Check(prompt, 3));
        var time = Stopwatch.GetElapsedTime(start);
        TestContext.Current.TestOutputHelper?.WriteLine($"{prompt.Length} characters: {time.TotalSeconds:0.00} s");
        Assert.True(time < TimeSpan.FromSeconds(10), $"takes {time}");
    }
}
