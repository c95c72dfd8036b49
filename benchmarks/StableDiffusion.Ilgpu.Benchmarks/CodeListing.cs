using System.Text.RegularExpressions;

namespace StableDiffusion.Ilgpu.Benchmarks;

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
    public static CodeListing FromMachineCode(string text) => FromLines(text, MachineLabel(), MachineInstruction());

    /// <summary>What clang writes for AMD's GPUs.</summary>
    public static CodeListing FromAmd(string text) => FromLines(text, AmdLabel(), AmdInstruction());

    /// <summary>What <c>ocloc disasm</c> writes for Intel's GPUs. An instruction has no mask before it, and its comment behind it.</summary>
    public static CodeListing FromIntel(string text) => FromLines(text, IntelLabel(), IntelInstruction());

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
    public CodeLoop? HottestLoop(Func<string, bool> counts) =>
        CodeOfHottestLoop(counts) is { Count: > 0 } code ? new CodeLoop(code.Count, code.Count(counts)) : null;

    /// <summary>The instructions of the loop with the most of a kind, or of the shortest one that has half as many; none where no loop has any.</summary>
    public IReadOnlyList<string> CodeOfHottestLoop(Func<string, bool> counts)
    {
        var found = loops.Select(loop => instructions[loop.First..(loop.Last + 1)]).Select(code => (Code: code, Count: code.Count(counts))).ToArray();
        var most = found.Select(loop => loop.Count).DefaultIfEmpty().Max();
        return most == 0 ? [] : found.Where(loop => 2 * loop.Count >= most).MinBy(loop => loop.Code.Count).Code;
    }

    private static CodeListing FromLines(string text, Regex label, Regex instruction)
    {
        var listing = new CodeListing();
        foreach (var line in text.Split('\n'))
        {
            if (label.Match(line) is { Success: true } name)
            {
                listing.Mark(name.Groups[1].Value);
            }
            else if (instruction.Match(line) is { Success: true } found)
            {
                listing.Add(found.Groups[1].Value.Trim());
            }
        }

        return listing;
    }

    private void Mark(string label) => labels[label] = instructions.Count;

    private void Add(string instruction)
    {
        if (Branch().IsMatch(instruction))
        {
            foreach (Match name in Name().Matches(instruction))
            {
                if (labels.TryGetValue(name.Value, out var target))
                {
                    loops.Add((target, instructions.Count));
                }
            }
        }

        instructions.Add(instruction);
    }

    [GeneratedRegex(@"^\s*(\.L_x_\d+):")]
    private static partial Regex MachineLabel();

    [GeneratedRegex(@"^\s+/\*[0-9a-f]{4,6}\*/\s+(.*?);")]
    private static partial Regex MachineInstruction();

    [GeneratedRegex(@"^(\.LBB\d+_\d+):")]
    private static partial Regex AmdLabel();

    [GeneratedRegex(@"^\t([a-z][^;]*)")]
    private static partial Regex AmdInstruction();

    [GeneratedRegex(@"^(L\d+):")]
    private static partial Regex IntelLabel();

    [GeneratedRegex(@"^(?:\([^)]*\))?\s+([a-z].*)")]
    private static partial Regex IntelInstruction();

    [GeneratedRegex(@"//[^\n]*|/\*.*?\*/", RegexOptions.Singleline)]
    private static partial Regex PtxComment();

    /// <summary>Before an instruction: braces of a text of its own, and labels.</summary>
    [GeneratedRegex(@"\G\s*(?:[{}]|(?<label>[\w$]+)\s*:)")]
    private static partial Regex PtxPrefix();

    /// <summary><c>@p bra L_3</c>, <c>@P0 BRA `(.L_x_3)</c>, <c>s_cbranch_scc0 .LBB0_3</c>, <c>while (8|M0) L3</c>.</summary>
    [GeneratedRegex(@"^(?:@!?%?\w+\s+)?(?:bra|BRA|s_branch|s_cbranch_\w+|while|jmpi|goto|brd|brc)\b")]
    private static partial Regex Branch();

    [GeneratedRegex(@"\.?[\w$]+")]
    private static partial Regex Name();
}

/// <summary>A loop of a program.</summary>
/// <param name="Length">Its instructions.</param>
/// <param name="Counted">Those among them of the kind that was looked for.</param>
internal sealed record CodeLoop(int Length, int Counted);
