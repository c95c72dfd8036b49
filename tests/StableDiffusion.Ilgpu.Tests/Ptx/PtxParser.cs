using System.Text.RegularExpressions;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>
/// Reads the one kernel of a PTX module: declarations, nested scopes and labels. Statements become instructions through <see cref="PtxDecoder"/>.
/// </summary>
internal sealed partial class PtxParser
{
    private readonly string text;
    private readonly RegisterLayout registers = new();
    private readonly List<PtxInstruction> instructions = [];
    private PtxScope scope = new(null);
    private int sharedBytes;
    private int position;
    private string lastLabel = "";

    public PtxParser(string source)
    {
        // Comments give way to blanks, so that lines keep their numbers.
        text = Comment().Replace(source, m => Regex.Replace(m.Value, "[^\n]", " "));
    }

    public PtxProgram Parse()
    {
        var entry = Entry().Matches(text) is [var only] ? only : throw new PtxException("the PTX must have exactly one .entry");
        foreach (Match variable in Variable().Matches(text[..entry.Index]))
        {
            DeclareVariable(variable.Value);
        }

        var parameterBytes = DeclareParameters(entry.Groups["parameters"].Value);
        var maxThreads = MaxThreads().Match(entry.Groups["directives"].Value);
        position = entry.Index + entry.Length;
        var line = text.AsSpan(0, position).Count('\n') + 1;
        ParseBody(ref line);
        foreach (var instruction in instructions)
        {
            Resolve(instruction);
        }

        return new PtxProgram
        {
            Name = entry.Groups["name"].Value,
            Instructions = [.. instructions],
            Registers = registers,
            ParameterBytes = parameterBytes,
            StaticSharedBytes = sharedBytes,
            MaxThreads = maxThreads.Success
                ? maxThreads.Groups[1].Value.Split(',').Aggregate(1, (product, n) => product * int.Parse(n)) : 1024,
        };
    }

    /// <summary>Until the brace that ends the kernel.</summary>
    private void ParseBody(ref int line)
    {
        var outermost = scope;
        while (true)
        {
            while (position < text.Length && char.IsWhiteSpace(text[position]))
            {
                line += text[position++] == '\n' ? 1 : 0;
            }

            if (position >= text.Length)
            {
                throw new PtxException("the kernel's closing brace is missing");
            }

            if (text[position] == '{')
            {
                scope = new PtxScope(scope);
                position++;
            }
            else if (text[position] == '}')
            {
                position++;
                if (scope == outermost)
                {
                    return;
                }

                scope = scope.Parent!;
            }
            else if (Label().Match(text, position) is { Success: true } label)
            {
                lastLabel = label.Groups[1].Value;
                scope.DeclareLabel(lastLabel, instructions.Count);
                position += label.Length;
            }
            else if (LineDirective().Match(text, position) is { Success: true } directive)
            {
                position += directive.Length;
            }
            else
            {
                var end = text.IndexOf(';', position);
                var statement = end < 0 ? throw new PtxException($"line {line}: a semicolon is missing") : text[position..end];
                ParseStatement(line, statement);
                line += statement.AsSpan().Count('\n');
                position = end + 1;
            }
        }
    }

    private void ParseStatement(int line, string statement)
    {
        try
        {
            if (statement.Length == 0)
            {
                return;
            }

            if (statement[0] != '.')
            {
                instructions.Add(new PtxDecoder(new PtxStatement(line, statement, scope), registers).Decode());
            }
            else if (Registers().Match(statement) is { Success: true } declaration)
            {
                DeclareRegisters(BitsOf(declaration.Groups["type"].Value), declaration.Groups["names"].Value);
            }
            else if (statement.StartsWith(".branchtargets", StringComparison.Ordinal))
            {
                scope.DeclareTable(lastLabel, statement[".branchtargets".Length..].Split(',', StringSplitOptions.TrimEntries));
            }
            else if (Variable().IsMatch(statement + ";"))
            {
                DeclareVariable(statement + ";");
            }
            else if (!statement.StartsWith(".pragma", StringComparison.Ordinal))
            {
                throw new PtxException("this directive is not interpreted");
            }
        }
        catch (PtxException e) when (!e.Message.StartsWith("line ", StringComparison.Ordinal))
        {
            throw new PtxException($"line {line}: {statement.Trim()}: {e.Message}");
        }
    }

    private void DeclareRegisters(int bits, string names)
    {
        foreach (var name in names.Split(',', StringSplitOptions.TrimEntries))
        {
            if (Range().Match(name) is { Success: true } range)
            {
                for (var i = 0; i < int.Parse(range.Groups[2].Value); i++)
                {
                    scope.Declare($"{range.Groups[1].Value}{i}", registers.Add(bits));
                }
            }
            else
            {
                scope.Declare(name, registers.Add(bits));
            }
        }
    }

    /// <summary>Shared memory: the name stands for its address, which may be had with 32 and with 64 bits.</summary>
    private void DeclareVariable(string declaration)
    {
        var match = Variable().Match(declaration);
        var (name, alignment) = (match.Groups["name"].Value, match.Groups["align"].Success ? int.Parse(match.Groups["align"].Value) : 1);
        var element = BitsOf(match.Groups["type"].Value) / 8;
        if (match.Groups["extern"].Success)
        {
            scope.Declare(name, registers.Special(PtxProgram.DynamicShared, 64));
            return;
        }

        alignment = Math.Max(alignment, element);
        sharedBytes = (sharedBytes + alignment - 1) / alignment * alignment;
        scope.Declare(name, registers.Constant((ulong)(PtxProgram.SharedBase + sharedBytes), 64));
        sharedBytes += element * (match.Groups["count"].Success ? int.Parse(match.Groups["count"].Value) : 1);
    }

    /// <summary>A parameter's name stands for its offset among all of them.</summary>
    private int DeclareParameters(string list)
    {
        var bytes = 0;
        foreach (Match parameter in Parameter().Matches(list))
        {
            var element = BitsOf(parameter.Groups["type"].Value) / 8;
            var alignment = Math.Max(element, parameter.Groups["align"].Success ? int.Parse(parameter.Groups["align"].Value) : 1);
            bytes = (bytes + alignment - 1) / alignment * alignment;
            scope.Declare(parameter.Groups["name"].Value, registers.Constant((ulong)bytes, 64));
            bytes += element * (parameter.Groups["count"].Success ? int.Parse(parameter.Groups["count"].Value) : 1);
        }

        return bytes;
    }

    private static void Resolve(PtxInstruction instruction)
    {
        if (instruction.Kind is not (InstructionKind.Branch or InstructionKind.Table))
        {
            return;
        }

        var (statement, name) = (instruction.Statement, instruction.Statement.Operands[^1]);
        string[] names = instruction.Kind == InstructionKind.Branch ? [name]
            : statement.Scope.FindTable(name) ?? throw statement.Fail($"there is no list {name} of branch targets");
        instruction.Targets =
            [.. names.Select(n => statement.Scope.FindLabel(n) ?? throw statement.Fail($"the label {n} does not exist, or not in this scope"))];
    }

    private static int BitsOf(string type) => type == "pred" ? 1 : type is ['b' or 'u' or 's' or 'f', .. var digits] && int.TryParse(digits, out var bits)
        ? bits : throw new PtxException($"the type .{type} is not interpreted");

    [GeneratedRegex(@"//[^\n]*|/\*.*?\*/", RegexOptions.Singleline)]
    private static partial Regex Comment();

    [GeneratedRegex(@"\.entry\s+(?<name>[\w$]+)\s*\((?<parameters>[^)]*)\)(?<directives>[^{]*)\{")]
    private static partial Regex Entry();

    [GeneratedRegex(@"\.maxntid\s+([\d, ]+)")]
    private static partial Regex MaxThreads();

    [GeneratedRegex(@"\G([\w$%]+)\s*:(?!:)")]
    private static partial Regex Label();

    [GeneratedRegex(@"\G\.(loc|file|section)\b[^\n]*")]
    private static partial Regex LineDirective();

    [GeneratedRegex(@"^\.reg\s+\.(?<type>\w+)\s+(?<names>.*)$", RegexOptions.Singleline)]
    private static partial Regex Registers();

    [GeneratedRegex(@"^([\w$%]+)\s*<\s*(\d+)\s*>$")]
    private static partial Regex Range();

    [GeneratedRegex(@"(?<extern>\.extern\s+)?\.shared\s+(\.align\s+(?<align>\d+)\s+)?\.(?<type>\w+)\s+(?<name>[\w$%]+)\s*(\[\s*(?<count>\d+)?\s*\])?\s*;")]
    private static partial Regex Variable();

    [GeneratedRegex(@"\.param\s+(\.align\s+(?<align>\d+)\s+)?\.(?<type>\w+)\s+(?<name>[\w$%]+)\s*(\[\s*(?<count>\d+)\s*\])?")]
    private static partial Regex Parameter();
}
