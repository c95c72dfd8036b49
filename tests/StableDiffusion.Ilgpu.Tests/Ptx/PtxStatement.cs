using System.Text.RegularExpressions;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>One instruction as written: <c>@!p add.s32 a, b, c</c>.</summary>
internal sealed partial class PtxStatement
{
    public PtxStatement(int line, string text, PtxScope scope)
    {
        (Line, Text, Scope) = (line, Spaces().Replace(text.Trim(), " "), scope);
        var rest = Text;
        if (rest.StartsWith('@'))
        {
            var end = rest.IndexOf(' ', StringComparison.Ordinal);
            GuardNegated = rest[1] == '!';
            Guard = rest[(GuardNegated ? 2 : 1)..end];
            rest = rest[(end + 1)..];
        }

        var space = rest.IndexOf(' ', StringComparison.Ordinal);
        Parts = (space < 0 ? rest : rest[..space]).Split('.');
        Operands = space < 0 ? [] : Split(rest[space..]);
    }

    /// <summary>Counted from 1.</summary>
    public int Line { get; }

    public string Text { get; }

    public PtxScope Scope { get; }

    /// <summary>The predicate that decides whether a lane executes it.</summary>
    public string? Guard { get; }

    public bool GuardNegated { get; }

    /// <summary>The name, then its modifiers and types.</summary>
    public string[] Parts { get; }

    public string[] Operands { get; }

    public PtxException Fail(string message) => new($"line {Line}: {Text}: {message}");

    /// <summary>By the commas outside of brackets and braces.</summary>
    private static string[] Split(string operands)
    {
        var (list, depth, start) = (new List<string>(), 0, 0);
        for (var i = 0; i < operands.Length; i++)
        {
            depth += operands[i] is '{' or '[' ? 1 : operands[i] is '}' or ']' ? -1 : 0;
            if (operands[i] == ',' && depth == 0)
            {
                list.Add(operands[start..i].Trim());
                start = i + 1;
            }
        }

        list.Add(operands[start..].Trim());
        return [.. list];
    }

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();
}
