using System.Text;
using StableDiffusion.Ilgpu.Text;

namespace StableDiffusion.Ilgpu.Tests.Samples;

/// <summary>Random prompts, and what must hold for what any prompt is parsed to.</summary>
internal static class PromptSamples
{
    /// <summary>What prompt syntax is made of, and texts that are near it.</summary>
    public static IReadOnlyList<string> Tokens { get; } =
    [
        "(", ")", "[", "]", ":", "|", "\\", "\\(", "\\)", "\\[", "\\]", "\\\\", "BREAK", " BREAK ", "BREAKS", ":1.3)", ":0.5]", ":3]", ": .5 ]", ":1e9]",
        ":-2]", ":1e999)", ":1.2.3)", ":.)", ":-)", ":99999999999999999999]", ":0.5", "[a|b]", "[a:b:0.5]", "(a:1.1)", "AND", ",", ", ", " ", "\n", "\t",
        "\r\n", "\u00a0", "\u001c", "\u2028", "a", "cat", "red", "é", "e\u0301", "日本", "٣", "Ⅷ", "²", "😀", "\ud83d", "\ude00", "\0", "\ufeff", "_",
        "<|endoftext|>", "<|startoftext|>", "<lora:x:1>", "!", "'s", "#", "0", "1", ".", "-", "+",
    ];

    /// <summary>Prompts as people write them.</summary>
    public static IReadOnlyList<string> Examples { get; } =
    [
        "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky)))", "a [red:green:0.5] apple BREAK [oil|water:3] \\(painting\\)",
        "fantasy landscape with a [mountain:lake:0.25] and [an oak:[a pine::8]:0.75][ in foreground::0.6][cow|horse|]",
    ];

    private static readonly ClipTokenizer Tokenizer = ClipTokenizer.BuiltIn;

    private static readonly PromptChunks Chunks = new(Tokenizer, 77, Tokenizer.EndOfText);

    /// <summary>A prompt of up to some tokens; the same one for the same random state.</summary>
    public static string Make(Random random, int most)
    {
        // A few tokens at a time make brackets meet more often than all of them would.
        var some = random.GetItems([.. Tokens], 1 + random.Next(12));
        var text = new StringBuilder();
        for (var count = random.Next(most + 1); count > 0; count--)
        {
            text.Append(some[random.Next(some.Length)]);
        }

        return text.ToString();
    }

    /// <exception cref="InvalidOperationException">What the prompt becomes is inconsistent.</exception>
    public static void Verify(string prompt)
    {
        if (Check(prompt, 10) is { } problem)
        {
            throw new InvalidOperationException(problem);
        }
    }

    /// <returns>What is wrong with what a prompt becomes, or null.</returns>
    public static string? Check(string prompt, int steps)
    {
        var schedule = PromptSchedule.Parse(prompt, steps);
        var last = schedule.Select(s => s.LastStep).ToArray();
        if (last.Length == 0 || last[^1] != steps || last[0] < 1 || !last.Zip(last.Skip(1)).All(p => p.First < p.Second))
        {
            return $"its steps are {string.Join(' ', last)}";
        }

        if (schedule.Any(s => s.Text.Length > prompt.Length) || (schedule.Count == 1 && !prompt.Contains('[') && schedule[0].Text != prompt))
        {
            return "editing adds to its text";
        }

        foreach (var text in schedule.Select(s => s.Text).Distinct().Take(3))
        {
            var parts = PromptAttention.Parse(text);
            if (parts.Count == 0 || parts.Any(p => !double.IsFinite(p.Weight)))
            {
                return $"its parts are {string.Join(", ", parts)}";
            }

            var neighbours = parts.Zip(parts.Skip(1));
            if (parts.Sum(p => p.Text.Length) > text.Length || neighbours.Any(p => p.First.Weight == p.Second.Weight && !IsClamped(p.First)))
            {
                return $"its parts are not joined, or hold more than the text: {string.Join(", ", parts)}";
            }

            var chunks = Chunks.Split(parts);
            if (chunks.Count == 0 || !chunks.All(IsWhole))
            {
                return $"its chunks are {string.Join("; ", chunks.Select(c => string.Join(' ', c.Ids)))}";
            }
        }

        return null;

        static bool IsWhole(PromptChunk chunk) => chunk is { Ids.Length: 77, TokenWeights.Length: 77 } && chunk.Ids[0] == Tokenizer.StartOfText
            && chunk.Ids.Contains(Tokenizer.EndOfText) && chunk.TokenWeights[0] == 1 && chunk.TokenWeights.All(double.IsFinite);

        // Weights too large for a float are made finite after neighbours are joined.
        static bool IsClamped(PromptPart part) => Math.Abs(part.Weight) is float.MaxValue or 0;
    }
}
