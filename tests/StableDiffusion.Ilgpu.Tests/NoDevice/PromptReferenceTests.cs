using System.Text.Json;
using StableDiffusion.Ilgpu.Text;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Weights, editing and chunks of prompts against what AUTOMATIC1111's own code gives.</summary>
[Trait("Kind", "Reference")]
public sealed class PromptReferenceTests
{
    /// <summary>The reference's own: weights are products of the same doubles.</summary>
    private const double WeightTolerance = 1e-9;

    private const int Steps = 10;

    [Fact]
    public void All_cases_of_attention() => Check("cases.jsonl", "attention", (text, expected) =>
    {
        var parts = PromptAttention.Parse(text);
        (string, double)[] stored = [.. expected.EnumerateArray().Select(p => (p[0].GetString()!, p[1].GetDouble()))];
        return parts.Count == stored.Length
            && parts.Zip(stored).All(p => p.First.Text == p.Second.Item1 && Math.Abs(p.First.Weight - p.Second.Item2) <= WeightTolerance)
            ? null : $"[{string.Join(", ", parts)}]";
    });

    [Fact]
    public void All_cases_of_editing() => Check("cases.jsonl", "schedule10", (text, expected) =>
    {
        var schedule = PromptSchedule.Parse(text, Steps);
        return schedule.SequenceEqual(expected.EnumerateArray().Select(p => new ScheduledPrompt(p[0].GetInt32(), p[1].GetString()!)))
            ? null : $"[{string.Join(", ", schedule)}]";
    });

    [Fact]
    public void All_cases_of_chunks()
    {
        var tokenizer = ClipTokenizer.BuiltIn;
        Check("chunks.jsonl", "", (text, item) =>
        {
            int[][] tokens = [.. item.GetProperty("tokens").EnumerateArray().Select(c => c.EnumerateArray().Select(t => t.GetInt32()).ToArray())];
            double[][] weights =
                [.. item.GetProperty("weights").EnumerateArray().Select(c => c.EnumerateArray().Select(w => w.GetDouble()).ToArray())];
            var chunks = new PromptChunks(tokenizer, tokens[0].Length, tokenizer.EndOfText).Split(PromptAttention.Parse(text));
            return chunks.Count == tokens.Length
                && chunks.Zip(tokens).All(p => p.First.Ids.SequenceEqual(p.Second))
                && chunks.Zip(weights).All(p => p.First.TokenWeights.Zip(p.Second).All(w => Math.Abs(w.First - w.Second) <= WeightTolerance))
                ? null : $"{chunks.Count} chunks, not these {tokens.Length}";
        });
    }

    /// <param name="file">Of the set's folder <c>prompts</c>.</param>
    /// <param name="key">What is compared; empty for the whole line.</param>
    /// <param name="compare">Gives what differs, or null.</param>
    private static void Check(string file, string key, Func<string, JsonElement, string?> compare)
    {
        var (count, wrong) = (0, 0);
        foreach (var line in File.ReadLines(ReferenceData.PathOf("prompts", file)).Where(l => l.Length > 0))
        {
            var item = JsonSerializer.Deserialize<JsonElement>(line);
            var (text, expected) = (item.GetProperty("text").GetString()!, key.Length > 0 ? item.GetProperty(key) : item);
            count++;
            if (compare(text, expected) is { } difference)
            {
                wrong++;
                TestContext.Current.TestOutputHelper?.WriteLine($"{JsonSerializer.Serialize(text)}: {difference}; stored {expected}");
            }
        }

        Assert.NotEqual(0, count);
        ReferenceData.Report($"prompts {file}{(key.Length > 0 ? $" {key}" : "")}, wrong ones of {count} cases", wrong, 0);
    }
}
