using System.Buffers;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace StableDiffusion.Ilgpu.Text;

/// <summary>
/// Weights in prompts, by the rules of AUTOMATIC1111's web UI: <c>(x)</c> multiplies the weight of everything in the brackets by 1.1,
/// <c>[x]</c> by 1/1.1, <c>(x:w)</c> by w; a backslash before a bracket or a backslash makes it text; BREAK is a boundary. Any text has
/// a meaning: a bracket that nothing opened is text, one that nothing closes counts as closed at the end.
/// </summary>
internal static class PromptAttention
{
    private static readonly SearchValues<char> Syntax = SearchValues.Create(@"\()[]:");

    private const double Round = 1.1, Square = 1 / 1.1;

    /// <summary>
    /// Deeper brackets have no effect, which bounds the time. Where the web UI gives them one, the weight's 42 digits are far more than
    /// any model's numbers hold.
    /// </summary>
    private const int MostNested = 1000;

    /// <summary>Parts with finite weights; neighbours have different ones. There is at least one part.</summary>
    public static IReadOnlyList<PromptPart> Parse(string prompt)
    {
        var (texts, weights) = (new List<string>(), new List<double>());
        var (round, square) = (new Stack<int>(), new Stack<int>());
        for (var i = 0; i < prompt.Length;)
        {
            var c = prompt[i];
            var length = 1;
            switch (c)
            {
                case '\\':
                    var escapes = i + 1 < prompt.Length && prompt[i + 1] is '(' or ')' or '[' or ']' or '\\';
                    Add(escapes ? prompt.Substring(i + 1, 1) : "", 1);
                    length = escapes ? 2 : 1;
                    break;
                case '(' or '[':
                    var stack = c == '(' ? round : square;
                    stack.Push(stack.Count < MostNested ? texts.Count : int.MaxValue);
                    break;
                case ')' when round.Count > 0:
                    MultiplyFrom(round.Pop(), Round);
                    break;
                case ']' when square.Count > 0:
                    MultiplyFrom(square.Pop(), Square);
                    break;
                case ':' when round.Count > 0 && ReadWeight(prompt, i) is { } given:
                    MultiplyFrom(round.Pop(), given.Weight);
                    length = given.Length;
                    break;
                case ')' or ']' or ':':
                    Add(c.ToString(), 1);
                    break;
                default:
                    length = prompt.AsSpan(i).IndexOfAny(Syntax);
                    length = length < 0 ? prompt.Length - i : length;
                    AddText(prompt.Substring(i, length));
                    break;
            }

            i += length;
        }

        foreach (var start in round)
        {
            MultiplyFrom(start, Round);
        }

        foreach (var start in square)
        {
            MultiplyFrom(start, Square);
        }

        return Join(texts, weights);

        void Add(string text, double weight)
        {
            texts.Add(text);
            weights.Add(weight);
        }

        void AddText(string text)
        {
            var done = 0;
            foreach (var (start, end) in Breaks(text))
            {
                Add(text[done..start], 1);
                Add(PromptPart.BreakWord, PromptPart.Break.Weight);
                done = end;
            }

            Add(text[done..], 1);
        }

        void MultiplyFrom(int start, double factor)
        {
            foreach (ref var weight in CollectionsMarshal.AsSpan(weights)[Math.Min(start, weights.Count)..])
            {
                weight *= factor;
            }
        }
    }

    /// <summary><c>: w )</c> with optional spaces; null where there is no such thing.</summary>
    private static (double Weight, int Length)? ReadWeight(string prompt, int colon)
    {
        var i = SkipSpaces(prompt, colon + 1);
        var number = new StringBuilder();
        if (i < prompt.Length && prompt[i] is '+' or '-')
        {
            number.Append(prompt[i++]);
        }

        for (; i < prompt.Length && (prompt[i] == '.' || PromptCharacters.Digit(prompt[i]) >= 0); i++)
        {
            number.Append(prompt[i] == '.' ? "." : PromptCharacters.Digit(prompt[i]));
        }

        i = SkipSpaces(prompt, i);
        return i < prompt.Length && prompt[i] == ')'
            && double.TryParse(
                number.ToString(), NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture,
                out var weight)
            ? (weight, i + 1 - colon)
            : null;
    }

    /// <summary>Where BREAK stands as a word of its own, with the spaces around it.</summary>
    private static IEnumerable<(int Start, int End)> Breaks(string text)
    {
        var done = 0;
        for (var i = Find(0); i >= 0; i = Find(i + 1))
        {
            var (start, end) = (i, i + PromptPart.BreakWord.Length);
            if (PromptCharacters.IsWordBefore(text, start) || PromptCharacters.IsWordAt(text, end))
            {
                continue;
            }

            while (start > done && PromptCharacters.IsSpace(text[start - 1]))
            {
                start--;
            }

            done = SkipSpaces(text, end);
            yield return (start, done);
        }

        int Find(int from) => text.IndexOf(PromptPart.BreakWord, from, StringComparison.Ordinal);
    }

    private static int SkipSpaces(string text, int i)
    {
        while (i < text.Length && PromptCharacters.IsSpace(text[i]))
        {
            i++;
        }

        return i;
    }

    private static List<PromptPart> Join(List<string> texts, List<double> weights)
    {
        var parts = new List<PromptPart>();
        var text = new StringBuilder();
        for (var i = 0; i < texts.Count; i++)
        {
            text.Append(texts[i]);
            if (i == texts.Count - 1 || weights[i] != weights[i + 1])
            {
                parts.Add(new PromptPart(text.ToString(), Finite(weights[i])));
                text.Clear();
            }
        }

        return parts.Count > 0 ? parts : [new PromptPart("", 1)];
    }

    private static double Finite(double weight) => double.IsNaN(weight) ? 0 : Math.Clamp(weight, -float.MaxValue, float.MaxValue);
}
