using System.Text.RegularExpressions;

namespace StableDiffusion.Ilgpu.Benchmarks.Ptx;

/// <summary>A program's instructions in their order, and its loops: from the target of a branch that goes back to the branch.</summary>
internal sealed partial class CodeListing
{
    private readonly List<string> instructions = [];
    private readonly Dictionary<string, int> labels = [];
    private readonly List<(int First, int Last)> loops = [];

    private CodeListing()
    {
    }

    public IReadOnlyList<string> Instructions => instructions;

    /// <summary>What <c>nvdisasm -c</c> prints.</summary>
    public static CodeListing FromMachineCode(string text)
    {
        var listing = new CodeListing();
        foreach (var line in text.Split('\n'))
        {
            if (MachineLabel().Match(line) is { Success: true } label)
            {
                listing.Mark(label.Groups[1].Value);
            }
            else if (MachineInstruction().Match(line) is { Success: true } instruction)
            {
                listing.Add(instruction.Groups[1].Value.Trim());
            }
        }

        return listing;
    }

    /// <summary>PTX of one kernel. A text in braces may come again with its labels: a branch back means the last one before it.</summary>
    public static CodeListing FromPtx(string text)
    {
        var listing = new CodeListing();
        foreach (var statement in PtxComment().Replace(text, "").Split(';'))
        {
            var start = 0;
            while (PtxPrefix().Match(statement, start) is { Success: true } prefix)
            {
                if (prefix.Groups["label"] is { Success: true } label)
                {
                    listing.Mark(label.Value);
                }

                start += prefix.Length;
            }

            // Directives begin with a dot; what opens the kernel is in one piece with its first one.
            var instruction = statement[start..].Trim();
            if (instruction.Length > 0 && instruction[0] != '.')
            {
                listing.Add(instruction);
            }
        }

        return listing;
    }

    /// <summary>The loop with the most instructions of a kind; null where no loop has any.</summary>
    public CodeLoop? HottestLoop(Func<string, bool> counts) => loops
        .Select(loop => new CodeLoop(loop.Last - loop.First + 1, instructions[loop.First..(loop.Last + 1)].Count(counts)))
        .Where(loop => loop.Counted > 0)
        .OrderByDescending(loop => loop.Counted).ThenBy(loop => loop.Length)
        .FirstOrDefault();

    private void Mark(string label) => labels[label] = instructions.Count;

    private void Add(string instruction)
    {
        if (Branch().Match(instruction) is { Success: true } branch && labels.TryGetValue(branch.Groups[1].Value, out var target))
        {
            loops.Add((target, instructions.Count));
        }

        instructions.Add(instruction);
    }

    [GeneratedRegex(@"^\s*(\.L_x_\d+):")]
    private static partial Regex MachineLabel();

    [GeneratedRegex(@"^\s+/\*[0-9a-f]{4,6}\*/\s+(.*?);")]
    private static partial Regex MachineInstruction();

    [GeneratedRegex(@"//[^\n]*|/\*.*?\*/", RegexOptions.Singleline)]
    private static partial Regex PtxComment();

    /// <summary>Before an instruction: braces of a text of its own, and labels.</summary>
    [GeneratedRegex(@"\G\s*(?:[{}]|(?<label>[\w$]+)\s*:)")]
    private static partial Regex PtxPrefix();

    /// <summary><c>@p bra L_3</c>, or <c>@P0 BRA `(.L_x_3)</c>.</summary>
    [GeneratedRegex(@"\b(?:bra|BRA)(?:\.\w+)*\s.*?(\.?[\w$]+)\)?$", RegexOptions.Singleline)]
    private static partial Regex Branch();
}

/// <summary>A loop of a program.</summary>
/// <param name="Length">Its instructions.</param>
/// <param name="Counted">Those among them of the kind that was looked for.</param>
internal sealed record CodeLoop(int Length, int Counted);
